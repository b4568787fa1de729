# frozen_string_literal: true

# Tells which requests it was given: one line of JSON for each, appended to the file ORACLE_LOG before the response
# leaves, so that whoever has read the response (or the end of the connection) finds it there. A line names the client's
# port, because what a client sees and what the application saw are two things here.

require "json"

log = File.open(ENV.fetch("ORACLE_LOG"), "a")
text = ->(octets) { octets.dup.force_encoding(Encoding::ISO_8859_1).encode(Encoding::UTF_8) }
own = %w[REQUEST_METHOD REQUEST_URI REQUEST_PATH PATH_INFO QUERY_STRING FRAGMENT SERVER_PROTOCOL SERVER_NAME SERVER_PORT
         CONTENT_LENGTH CONTENT_TYPE REMOTE_ADDR rack.url_scheme]

run lambda { |env|
  # rserve gives a duplicate, which is ours to close.
  socket = env["puma.socket"]
  port = socket.peeraddr[1]
  socket.to_io.close unless socket.is_a?(BasicSocket)

  body = env["rack.input"]&.read.to_s
  seen = env.select { |key, _| own.include?(key) || key.start_with?("HTTP_") }.transform_values(&text)
  log.syswrite("#{JSON.generate("port" => port, "body" => text[body], "env" => seen)}\n")
  [200, { "content-type" => "text/plain" }, ["#{env["REQUEST_METHOD"]} #{env["REQUEST_URI"]} #{body.bytesize}\n"]]
}
