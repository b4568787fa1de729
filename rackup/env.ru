# frozen_string_literal: true

# Shows what an app gets to know about a request: GET /any/path?query
run lambda { |env|
  lines = env.sort.map { |key, value| "#{key.ljust(30)} #{value.inspect}\n" }
  [200, { "content-type" => "text/plain; charset=utf-8" }, lines]
}
