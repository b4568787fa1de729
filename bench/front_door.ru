# frozen_string_literal: true

# What bench/thruster asks for: pages of Rails, and what a server in front of an app does for it. FRONT_DOOR is a folder
# with public/assets/ and large.bin.
require "json"
require "rack"

PLACE = ENV.fetch("FRONT_DOOR")
ROWS = JSON.generate(Array.new(80) { |row| { id: row, name: "Item #{row * 7919}", price: row * 3.5, tags: %w[a b c] } })
rails = [*Rack::Builder.parse_file(File.expand_path("rails/config.ru", __dir__))].first

# As Rails serves its own assets: for a year, to everybody.
use Rack::Static, urls: ["/assets"], root: File.join(PLACE, "public"),
                  header_rules: [[:all, { "cache-control" => "public, max-age=31536000" }]]

run lambda { |env|
  case env["PATH_INFO"]
  when "/json" then [200, { "content-type" => "application/json", "cache-control" => "private" }, [ROWS]]
  when "/sent"
    [200, { "content-type" => "application/octet-stream", "x-sendfile" => File.join(PLACE, "large.bin") }, []]
  else rails.call(env)
  end
}
