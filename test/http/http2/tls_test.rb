# frozen_string_literal: true

require_relative "http2_case"
require_relative "../../helpers/certificates"
require "open3"

# HTTP/2 by TLS, where the client chooses it, and real clients.
class Http2TLSTest < Http2Case
  parallelize_me!

  APP = <<~'RUBY'
    run lambda { |env|
      case env["PATH_INFO"]
      when "/large" then [200, {}, ["x" * 3_000_000]]
      when "/echo" then [200, {}, [env["rack.input"].read.bytesize.to_s]]
      else [200, { "x-a" => "b" }, [env.values_at("SERVER_PROTOCOL", "rack.url_scheme", "HTTP_HOST").join(" ")]]
      end
    }
  RUBY

  def setup
    super
    @certificates = Certificates.new(folder)
    cert, key = @certificates.issue("server")
    @port = UniquePort.call
    @bind = ["-b", "ssl://127.0.0.1:#{@port}?cert=#{cert}&key=#{key}"]
  end

  def test_a_client_chooses
    start(APP, *@bind)
    { %w[h2 http/1.1] => "h2", %w[http/1.1 h2] => "h2", %w[http/1.1] => "http/1.1", %w[h2] => "h2", %w[x] => nil }
      .each { |offered, chosen| connect(offered) { |tls| assert_equal_nil chosen, tls.alpn_protocol } }
    connect(nil) do |tls|
      tls.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      assert_match(%r{HTTP/1.1 https a\z}, tls.read)
    end
    connect(%w[h2]) do |tls|
      client = Http2Client.new(tls)
      assert_equal "HTTP/2 https localhost", client.request("/").body
      client.open_window(1 << 24)
      stream = client.begin_request("/large")
      client.open_window(1 << 24, stream:)
      assert_equal 3_000_000, client.await(stream).body.bytesize
    end
  end

  def test_not_with_an_older_tls_nor_unless_asked_for
    spawn_server(*@bind, app: file("app.ru", APP))
    connect(%w[h2 http/1.1]) { |tls| assert_equal "http/1.1", tls.alpn_protocol }
    connect(%w[h2]) { |tls| assert_nil tls.alpn_protocol }
  end

  def test_what_begins_like_http_2_and_was_not_chosen
    start(APP, *@bind)
    connect(%w[http/1.1]) do |tls|
      tls.write(Http2Frames::PREFACE)
      assert_match(%r{\AHTTP/1.0 501}, tls.read)
    end
    connect(%w[h2]) do |tls|
      tls.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      client = Http2Client.new(tls, preface: nil)
      client.read_all
      assert_equal :protocol_error, client.goaways.last.reason
    end
  end

  def test_curl
    skip "this curl does not speak HTTP/2" unless `curl --version`.include?("HTTP2")

    start(APP, *@bind)
    tls = ["--cacert", @certificates.ca, "--resolve", "localhost:#{@port}:127.0.0.1", "--http2"]
    upload = file("upload", "u" * 2_000_000)
    [["https://localhost:#{@port}", tls], ["http://localhost:#{server.port}", %w[--http2-prior-knowledge]]]
      .each do |url, arguments|
      scheme = url[/\A\w+/]
      assert_match(%r{\AHTTP/2 200 \r\n.*x-a: b\r\n.*HTTP/2 #{scheme} localhost:\d+\z}m,
                   curl("-i", *arguments, "#{url}/"))
      assert_equal 3_000_000, curl(*arguments, "#{url}/large").bytesize
      assert_equal "2000000", curl(*arguments, "--data-binary", "@#{upload}", "#{url}/echo")
      assert_equal "2000000", curl(*arguments, "-H", "Transfer-Encoding: chunked", "-T", upload, "#{url}/echo")
      next if scheme == "http" # this curl fails there at any server when it has several requests at a time

      assert_equal 30_000_000, curl(*arguments, "--parallel", *Array.new(10) { "#{url}/large" }).bytesize
    end
  end

  # Debian's nghttp2-client, where it is installed.
  def test_nghttp
    skip "there is no nghttp" unless system("command -v nghttp >/dev/null")

    start(APP)
    out, status = Open3.capture2e("nghttp", "-v", "-m", "20", "http://127.0.0.1:#{server.port}/")
    assert status.success?, out
    assert_equal 20, out.scan(":status: 200").size
  end

  private

  def assert_equal_nil(expected, actual) = expected.nil? ? assert_nil(actual) : assert_equal(expected, actual)

  def connect(protocols)
    context = OpenSSL::SSL::SSLContext.new
    context.alpn_protocols = protocols if protocols
    context.ca_file = @certificates.ca
    context.verify_mode = OpenSSL::SSL::VERIFY_PEER
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @port), context)
    tls.sync_close = true
    tls.hostname = "localhost"
    yield tls.connect
  ensure
    tls&.close
  end

  def curl(*arguments)
    out, err, status = Open3.capture3("curl", "-sS", "--fail", "--max-time", "60", *arguments, binmode: true)
    assert status.success?, "#{err}\n#{server.log}"
    out
  end
end
