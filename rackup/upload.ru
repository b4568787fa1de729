# frozen_string_literal: true

require "digest"

# Says how long an upload was, and its checksum, without ever holding it whole:
#   curl -T some.file http://localhost:9292/
FORM = <<~HTML
  <!doctype html>
  <title>Upload</title>
  <form method="post" enctype="text/plain"><textarea name="text"></textarea><button>Send</button></form>
HTML

run lambda { |env|
  next [200, { "content-type" => "text/html" }, [FORM]] if env["REQUEST_METHOD"] == "GET"

  digest = Digest::SHA256.new
  length = 0
  while (part = env["rack.input"].read(65_536))
    length += part.bytesize
    digest << part
  end
  [200, { "content-type" => "text/plain" }, ["#{length} octets, SHA-256 #{digest}\n"]]
}
