# frozen_string_literal: true

require "open3"
require_relative "../helpers/server_case"

# Files, `X-Sendfile` and compression over HTTP/2, as curl reads them.
class FrontDoorHttp2Test < ServerCase
  APP = <<~'RUBY'
    run lambda { |env|
      fields = { "Content-Type" => "text/plain" }
      case env["PATH_INFO"]
      when "/sent" then [200, fields.merge("X-Sendfile" => File.join(env["HTTP_X_PLACE"], "large.bin")), []]
      when "/each" then [200, fields, Enumerator.new { |out| 300.times { |at| out << "part #{at}\n" } }]
      else [200, fields, ["app #{env["SERVER_PROTOCOL"]}\n" * 200]]
      end
    }
  RUBY

  def setup
    super
    curl = Open3.capture2e("curl", "--version").first
    @features = curl[/^Features:.*/].to_s
    skip "no curl with HTTP/2 here" unless @features.include?("HTTP2")
  rescue Errno::ENOENT
    skip "no curl here"
  end

  def test_the_same_over_http2
    place = folder
    large = Random.new(1).bytes(5 << 20)
    { "large.bin" => large, "text.txt" => "0123456789", "text.txt.gz" => "as gzip" }
      .each { |name, text| File.binwrite(File.join(place, name), text) }
    config = "rserve { http2; static #{place.dump}; x_sendfile #{place.dump}; compress }\n"
    spawn_server("-t", "1:1", app: file("app.ru", APP), config:)
    assert_equal "0123456789", curl("/text.txt")
    assert_equal "as gzip", curl("/text.txt", "-H", "Accept-Encoding: gzip")
    assert_equal "234", curl("/text.txt", "-r", "2-4")
    assert_match(%r{\AHTTP/2 304 }, curl("/text.txt", "-i", "-H", "If-None-Match: *"))
    assert_match(%r{\AHTTP/2 200 \r\n.*content-length: 10\r\n}m, curl("/text.txt", "-I"))
    assert curl("/large.bin") == large, "a file"
    assert curl("/sent", "-H", "X-Place: #{place}") == large, "a file of the application's"
    assert_equal large.byteslice(100..200), curl("/sent", "-r", "100-200", "-H", "X-Place: #{place}")
    { "gzip" => "libz", "br" => "brotli", "zstd" => "zstd" }.each do |coding, feature|
      next unless @features.include?(feature)

      accepts = ["--compressed", "-H", "Accept-Encoding: #{coding}"]
      assert_equal Array.new(300) { |at| "part #{at}\n" }.join, curl("/each", *accepts)
      assert_match(/content-encoding: #{coding}\r\n.*\r\n\r\n(app HTTP.2\n){200}\z/m, curl("/", "-i", *accepts))
    end
  end

  private

  def curl(path, *options)
    output, status = Open3.capture2("curl", "-sS", "--http2-prior-knowledge", "--max-time", "60", *options,
                                    "http://127.0.0.1:#{server.port}#{path}", binmode: true)
    assert_predicate status, :success?, path
    output
  end
end
