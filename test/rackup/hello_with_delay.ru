# frozen_string_literal: true

# Slow enough that requests overlap.
run lambda { |_env|
  sleep 0.001
  [200, { "content-type" => "text/plain" }, ["Hello World"]]
}
