# frozen_string_literal: true

puts "Loading app"
run ->(_env) { [200, { "content-type" => "text/plain" }, ["Hello World"]] }
