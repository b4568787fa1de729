# frozen_string_literal: true

require "uri"

# Writes its response while it is being made: one line at a time, as `curl -N` shows. GET /?lines=10&every=0.2
#
# A body that responds to `call` gets the stream to write to (Rack 3; rserve has it with Rack 2 too).
run lambda { |env|
  query = URI.decode_www_form(env["QUERY_STRING"]).to_h
  body = lambda do |stream|
    Integer(query.fetch("lines", 10)).times do |line|
      stream.write("line #{line}\n")
      sleep Float(query.fetch("every", 0.2))
    end
  ensure
    stream.close
  end
  [200, { "content-type" => "text/plain" }, body]
}
