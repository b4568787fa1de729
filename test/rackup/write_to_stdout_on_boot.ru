# frozen_string_literal: true

puts "Loading app"
run ->(_env) { [200, { "Content-Type" => "text/plain" }, ["Hello World"]] }
