# frozen_string_literal: true

require "etc"
require "open3"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"
require_relative "../helpers/web_socket"

# docs/nginx.conf, with paths and ports of the test's own, in front of rserve.
class NginxDocumentTest < ServerCase
  DOCUMENT = File.read(File.join(TestServer::ROOT, "docs/nginx.conf"))
  NGINX = ["/usr/sbin", *ENV.fetch("PATH").split(":")].map { |place| "#{place}/nginx" }
                                                      .find { |path| File.executable?(path) }

  APP = <<~'RUBY'
    require "digest"
    run lambda { |env|
      next [200, {}, [env["rack.input"].read.bytesize.to_s]] if env["REQUEST_METHOD"] == "POST"
      if env["HTTP_UPGRADE"] == "websocket"
        key = [Digest::SHA1.digest("#{env["HTTP_SEC_WEBSOCKET_KEY"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")].pack("m0")
        socket = env["rack.hijack"].call
        socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                     "Sec-WebSocket-Accept: #{key}\r\n\r\n\x81\x05hello")
        next [-1, {}, []]
      end
      seen = %w[SERVER_PROTOCOL HTTP_CONNECTION HTTP_HOST HTTP_X_FORWARDED_PROTO HTTP_X_FORWARDED_FOR]
      [200, { "content-type" => "text/plain" }, [env.values_at(*seen).inspect]]
    }
  RUBY

  def setup
    super
    skip "no nginx here" unless NGINX
    @place = folder
    FileUtils.mkdir_p(File.join(@place, "public/assets"))
    File.write(File.join(@place, "public/robots.txt"), "of nginx")
    File.write(File.join(@place, "public/500.html"), "sorry")
    File.write(File.join(@place, "public/assets/app-123.js"), "1")
    File.write(File.join(@place, "public/assets/app-123.js.gz"), "zipped")
    @plain = UniquePort.call
    @tls = UniquePort.call
  end

  def teardown
    if @nginx
      Process.kill(:TERM, @nginx)
      Process.wait(@nginx)
      warn File.read(File.join(@place, "error.log")) unless passed?
    end
    super
  end

  def test_the_document_itself_has_no_more_to_say
    output, status = Open3.capture2e(NGINX, "-t", "-c", configuration)
    assert status.success?, output
    refute_match(/\[(warn|emerg)\](?!.*"user" directive)/, output)
  end

  def test_pages_uploads_assets_and_web_sockets
    spawn_server(unix: true, app: file("config.ru", APP))
    start_nginx
    assert_equal ["200", ["HTTP/1.1", nil, "shop.example", "https", "127.0.0.1"].inspect], answer("GET", "/")
    assert_equal "301", plain_answer
    assert_equal ["200", "of nginx"], answer("GET", "/robots.txt")
    assert_equal %w[200 2000000], answer("POST", "/", body: "x" * 2_000_000)
    assert_equal "413", status_of("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: #{(50 << 20) + 1}\r\n\r\n")
    head = exchange("GET /assets/app-123.js HTTP/1.1\r\nHost: shop.example\r\nAccept-Encoding: gzip\r\n" \
                    "Connection: close\r\n\r\n")
    assert_match(/Content-Encoding: gzip.*Cache-Control: max-age=\d+.*public.*zipped\z/mi, head)
    assert_equal "hello", WebSocket.new(connect_tls, "/cable", host: "shop.example").receive
  end

  def test_without_rserve_there_is_the_apps_own_error_page
    spawn_server(unix: true)
    start_nginx
    assert_equal "200", answer("GET", "/").first
    server.stop
    assert_equal %w[502 sorry], answer("GET", "/")
  end

  private

  # @return [String] path of the document with what is the test's own put in
  def configuration
    text = replacements.reduce(DOCUMENT) do |before, (old, new)|
      assert_includes before, old
      before.gsub(old) { new }
    end
    file("nginx.conf", text)
  end

  def replacements
    certificate, key = Certificates.new(@place).issue("shop.example")
    {
      "user www-data" => "user #{Etc.getpwuid.name}", "/run/nginx.pid" => "#{@place}/pid", "/var/log/nginx" => @place,
      "/srv/shop/current" => @place, "/srv/shop/shared/rserve.sock" => server&.path || "/srv/shop.sock",
      "/etc/ssl/shop.example.crt" => certificate, "/etc/ssl/shop.example.key" => key,
      "listen 80" => "listen 127.0.0.1:#{@plain}", "listen 443" => "listen 127.0.0.1:#{@tls}",
      "http {\n" => "http {\n#{temporary_folders.join}"
    }
  end

  def temporary_folders
    %w[client_body proxy fastcgi uwsgi scgi].map { |name| "#{name}_temp_path #{@place}/temp-#{name};\n" }
  end

  def start_nginx
    @nginx = Process.spawn(NGINX, "-c", configuration, "-g", "daemon off;", %i[out err] => File::NULL)
    server.wait_until("nginx listens", 20) do
      connect_tls.close
      true
    rescue Errno::ECONNREFUSED
      false
    end
  end

  def connect_tls
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @tls))
    tls.sync_close = true
    tls.connect
  end

  def exchange(octets)
    socket = connect_tls
    socket.write(octets)
    socket.read
  ensure
    socket&.close
  end

  # nginx cuts a client off that it does not let send.
  def status_of(octets)
    socket = connect_tls
    socket.write(octets)
    socket.gets[/ (\d+) /, 1]
  ensure
    socket&.close
  end

  # @return [Array(String, String)] status and body
  def answer(method, path, body: "")
    octets = "#{method} #{path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n" \
             "Content-Length: #{body.bytesize}\r\n\r\n"
    head, content = exchange(octets + body).split("\r\n\r\n", 2)
    content = content[/\A\h+\r\n(.*?)\r\n0/m, 1] if head.match?(/chunked/i)
    [head[/ (\d+) /, 1], content]
  end

  def plain_answer
    TCPSocket.open("127.0.0.1", @plain) do |socket|
      socket.write("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
      socket.read[/ (\d+) /, 1]
    end
  end
end
