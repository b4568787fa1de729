# frozen_string_literal: true

require_relative "../helpers/server_case"

# Rack::Lint around an app has nothing to say, whatever the request looks like.
class RackLintTest < ServerCase
  # Lint raises where it objects; the app never sees the request then, and the client gets a 500.
  APP = <<~'RUBY'
    require "rack"
    require "rack/lint"

    class Everything
      def call(env)
        input = env["rack.input"]
        read = input ? input.read.to_s.bytesize : 0
        body = [env["REQUEST_METHOD"], env["PATH_INFO"], env["QUERY_STRING"], read].join(" ")
        [200, { "content-type" => "text/plain", "content-length" => body.bytesize.to_s }, [body]]
      end
    end

    use Rack::Lint
    run Everything.new
  RUBY

  BIG = "x" * 300_000

  # name => octets
  SHAPES = {
    "get" => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host" => "GET / HTTP/1.1\r\n\r\n",
    "get 1.0" => "GET / HTTP/1.0\r\n\r\n",
    "keep-alive 1.0" => "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "close" => "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "host and port" => "GET / HTTP/1.1\r\nHost: a:8080\r\n\r\n",
    "ipv6 host" => "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "head" => "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "delete" => "DELETE /thing HTTP/1.1\r\nHost: a\r\n\r\n",
    "options" => "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
    "patch" => "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
    "post" => "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "post without a body" => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "post without a length" => "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "put 1.0" => "PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    "large" => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: #{BIG.bytesize}\r\n\r\n#{BIG}",
    "chunked" => "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "chunked and empty" => "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and large" =>
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n#{BIG.size.to_s(16)}\r\n#{BIG}\r\n0\r\n\r\n",
    "query" => "GET /?a=b&c=%20d HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty query" => "GET /? HTTP/1.1\r\nHost: a\r\n\r\n",
    "question marks" => "GET /a?b?c HTTP/1.1\r\nHost: a\r\n\r\n",
    "long query" => "GET /?#{"q" * 5000} HTTP/1.1\r\nHost: a\r\n\r\n",
    "escaped path" => "GET /a%20b%2Fc HTTP/1.1\r\nHost: a\r\n\r\n",
    "slashes" => "GET //a//b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "dots" => "GET /a/../b/./c HTTP/1.1\r\nHost: a\r\n\r\n",
    "semicolon and colon" => "GET /a;b=1:c HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form" => "GET http://other.example/path?x HTTP/1.1\r\nHost: a\r\n\r\n",
    "many headers" => "GET / HTTP/1.1\r\nHost: a\r\n#{Array.new(60) { |n| "X-Header-#{n}: #{n}\r\n" }.join}\r\n",
    "repeated headers" => "GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nAccept: y\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
    "empty header" => "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n\r\n",
    "latin-1 header" => "GET / HTTP/1.1\r\nHost: a\r\nX-Name: caf\xE9\r\n\r\n".b,
    "expects continue" => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok"
  }.freeze

  def test_lint_accepts_every_shape_of_request
    spawn_server "-e", "production", app: file("lint.ru", APP)
    objections = SHAPES.filter_map do |name, octets|
      response = request(octets, head_only: name == "head")
      "#{name}: #{response.head.lines.first.chomp} #{response.body[0, 200]}" unless response.status == 200
    end
    assert_empty objections
  end

  def test_lint_accepts_a_connection_used_for_every_shape
    spawn_server "-e", "production", app: file("lint.ru", APP)
    kept = SHAPES.reject { |name, _| name.include?("1.0") || name == "close" }
    server.exchange(kept.values.join) do |reader|
      kept.each_key { |name| assert_equal 200, reader.receive(head_only: name == "head").status, name }
    end
  end
end
