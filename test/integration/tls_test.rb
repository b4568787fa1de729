# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/certificates"
require "net/http"
require "open3"

# TLS as real clients see it.
class TLSTest < ServerCase
  parallelize_me!

  APP = <<~'RUBY'
    run lambda { |env|
      case env["PATH_INFO"]
      when "/env" then [200, {}, [%w[HTTPS rack.url_scheme SERVER_PORT].map { |key| env[key] }.join(" ")]]
      when "/large" then [200, {}, ["x" * 3_000_000]]
      when "/parts" then [200, {}, Enumerator.new { |parts| 300.times { |n| parts << "#{n}," * 100 } }]
      when "/file" then [200, { "content-length" => File.size(__FILE__).to_s }, File.open(__FILE__)]
      when "/echo" then [200, {}, [env["rack.input"].read.sum.to_s]]
      when "/broken" then [200, {}, Enumerator.new { |parts| parts << "half"; raise "broken" }]
      when "/who" then [200, {}, [env["puma.peercert"]&.subject.to_s]]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 200 OK\r\n\r\n")
        Thread.new { io.write("you said #{io.readpartial(100)}"); io.close }
        [-1, {}, []]
      when "/gone"
        io = env["rack.hijack"].call
        fails = -> { loop { io.write("HTTP/1.1 200 OK\r\n"); sleep 0.01 } rescue $!.class }
        errors = Array.new(2) { fails.call }
        warn "errors: #{errors.join(" ")}, said: #{io.readpartial(100).inspect}"
        io.close
        [-1, {}, []]
      when "/select"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 200 OK\r\n\r\n")
        Thread.new do
          octets = +""
          octets << io.read_nonblock(100) while octets.size < 20_000 && io.to_io.wait_readable(10)
          io.write(octets.size.to_s)
          io.close
        end
        [-1, {}, []]
      else [200, {}, ["Hello World"]]
      end
    }
  RUBY

  def setup
    super
    @certificates = Certificates.new(folder)
    @cert, @key = @certificates.issue("server")
  end

  def test_keep_alive_requests_over_every_version
    start
    %i[TLS1_2 TLS1_3].each do |version|
      connect(version:) do |tls|
        5.times { assert_equal "Hello World", ask(tls, "/") }
        assert_equal version.to_s.sub("TLS1_", "TLSv1."), tls.ssl_version
      end
    end
  end

  def test_the_application_sees_https
    start
    connect { |tls| assert_equal "https https 443", ask(tls, "/env") }
  end

  def test_large_bodies_parts_and_files
    start
    connect do |tls|
      assert_equal 3_000_000, ask(tls, "/large").bytesize
      assert_equal Array.new(300) { |n| "#{n}," * 100 }.join, ask(tls, "/parts")
      assert_equal APP, ask(tls, "/file")
      body = "a" * 2_000_000
      assert_equal body.sum.to_s, ask(tls, "/echo", body:)
    end
  end

  def test_a_response_that_ends_with_the_connection_ends_with_a_close_notify_only_when_it_is_whole
    start
    connect do |tls|
      tls.write("GET /parts HTTP/1.0\r\n\r\n")
      assert_match(/299,\z/, tls.read)
    end
    connect do |tls|
      tls.write("GET /broken HTTP/1.0\r\n\r\n")
      assert_raises(OpenSSL::SSL::SSLError) { tls.read }
    end
  end

  def test_a_client_that_does_not_read_costs_no_thread
    start threads: "1:1"
    connect do |slow|
      slow.write("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
      connect { |tls| assert_equal "Hello World", ask(tls, "/") }
      assert_equal 3_000_000, ResponseReader.new(slow).receive.body.bytesize
    end
  end

  def test_curl
    start
    out, err, status = Open3.capture3("curl", "-sS", "--cacert", @certificates.ca, "https://localhost:#{@port}/",
                                      "--resolve", "localhost:#{@port}:127.0.0.1")
    assert status.success?, err
    assert_equal "Hello World", out
  end

  def test_s_client_resumes_sessions_and_may_not_renegotiate
    start
    %w[-tls1_2 -tls1_3].each do |version|
      session = File.join(folder, "session")
      s_client(version, "-sess_out", session)
      assert_match(/Reused, /, s_client(version, "-sess_in", session))
    end
    # `R` on a line of its own is the client's command to renegotiate.
    assert_match(/no renegotiation/, renegotiate)
  end

  def test_clients_with_certificates
    start ca: @certificates.ca, verify_mode: "force_peer"
    certificate, key = @certificates.issue("client")
    connect(certificate:, key:) { |tls| assert_equal "/CN=client", ask(tls, "/who") }
    assert_raises(OpenSSL::SSL::SSLError, EOFError, Errno::ECONNRESET) { connect { |tls| ask(tls, "/") } }
    assert_log(/SSL error, peer: 127\.0\.0\.1, peer cert: : .*SSLError: OpenSSL error: .*::peer did not return a c/)
    stranger, key = Certificates.new(folder).issue("stranger")
    assert_raises(OpenSSL::SSL::SSLError, EOFError, Errno::ECONNRESET) do
      connect(certificate: stranger, key:) { |tls| ask(tls, "/") }
    end
    assert_log(%r{SSL error, peer: 127\.0\.0\.1, peer cert: /CN=.*verif})
  end

  def test_plain_http_is_turned_away_and_logged
    start
    socket = TCPSocket.new("127.0.0.1", @port)
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    refute_match(/HTTP/, read_all(socket))
    assert_log(/SSL error, peer: 127\.0\.0\.1, peer cert: : .*http request/)
    connect { |tls| assert_equal "Hello World", ask(tls, "/") }
  ensure
    socket&.close
  end

  def test_stalled_handshakes_hold_nothing_and_end
    start threads: "1:2", more: "first_data_timeout 10"
    stalled = Array.new(200) { TCPSocket.new("127.0.0.1", @port) }
    stalled.each_slice(2) { |_silent, begun| begun.write("\x16\x03\x01\x02\x00\x01\x00".b) }
    times = Array.new(50) do
      started = now
      connect { |tls| assert_equal "Hello World", ask(tls, "/") }
      now - started
    end
    assert_operator times.sort[-2], :<, 5
    assert_empty(stalled.reject { |socket| socket.wait_readable(Patience.for(10)) && read_all(socket) })
  ensure
    stalled&.each(&:close)
  end

  def test_hijack
    start
    connect do |tls|
      tls.write("GET /hijack HTTP/1.1\r\nHost: localhost\r\n\r\n")
      assert_equal "HTTP/1.1 200 OK\r\n", tls.gets
      assert_equal "\r\n", tls.gets
      tls.write("hello")
      assert_equal "you said hello", tls.read
    end
  end

  # The same as without TLS: it read the records themselves, and the exception was none of the system's.
  def test_a_client_that_is_gone_has_said_what_it_has_said
    start
    connect do |tls|
      tls.write("GET /gone HTTP/1.1\r\nHost: localhost\r\n\r\n")
      tls.gets
      tls.write("what it has said")
    end
    assert_log(/errors: Errno::\w+ Errno::EPIPE, said: "what it has said"/)
  end

  # As the event loop of Action Cable does it.
  def test_who_waits_for_a_hijacked_socket_gets_all_that_it_has
    start
    connect do |tls|
      tls.write("GET /select HTTP/1.1\r\nHost: localhost\r\n\r\n")
      2.times { tls.gets }
      tls.write("a" * 20_000)
      assert_equal "20000", Timeout.timeout(Patience.for(10)) { tls.read }
    end
  end

  def test_restart_keeps_the_listener
    start
    hot_restart
    connect { |tls| assert_equal "Hello World", ask(tls, "/") }
  end

  def test_workers
    start more: "workers 2\npreload_app!"
    4.times { connect { |tls| assert_equal "Hello World", ask(tls, "/") } }
  end

  def test_new_certificates_are_taken_and_bad_ones_are_not
    start
    connect do |before|
      ask(before, "/")
      serial = before.peer_cert.serial
      @certificates.issue("server")
      assert_log(/New certificates on port #{@port}/)
      renewed = shown.serial
      refute_equal serial, renewed
      assert_equal "Hello World", ask(before, "/"), "open connections stay"
      File.write(@cert, "nonsense")
      assert_log(/! The new certificates are of no use, the old ones stay: cert file '#{@cert}'/)
      assert_equal renewed, shown.serial
    end
  end

  def test_certificates_change_under_load
    start more: "workers 2"
    beside_clients do |seen, clients|
      3.times do
        wanted = OpenSSL::X509::Certificate.new(File.read(@certificates.issue("server").first)).serial
        server.wait_until("every client sees the new certificate", 10) { seen.all?(wanted) || !clients.all?(&:alive?) }
      end
    end
  end

  def test_a_restart_loses_no_request
    start
    beside_clients { 2.times { hot_restart } }
  end

  def test_handshakes_are_counted
    ["", "workers 1\nworker_check_interval 1"].each do |mode|
      control = UniquePort.call
      start more: "activate_control_app 'tcp://127.0.0.1:#{control}', no_token: true\n#{mode}"
      session = File.join(folder, "session")
      s_client("-tls1_2", "-sess_out", session)
      s_client("-tls1_2", "-sess_in", session)
      TCPSocket.open("127.0.0.1", @port) { |socket| socket.write("GET / HTTP/1.1\r\n\r\n") && read_all(socket) }
      stats = nil
      server.wait_until("the statistics have all", 10) do
        stats = handshake_stats(control)
        stats.values_at("tls_handshakes", "tls_resumed", "tls_failed") == [2, 1, 1]
      end
      assert_includes 1..1_000_000, stats["tls_microseconds"]
    end
  end

  def test_the_control_server_may_speak_tls_too
    port = UniquePort.call
    start more: "activate_control_app 'ssl://127.0.0.1:#{port}?cert=#{@cert}&key=#{@key}', auth_token: 'token'"
    out, status = Open3.capture2e(RbConfig.ruby, "-Ilib", File.join(TestServer::ROOT, "gem/exe/rservectl"),
                                  "-C", "ssl://127.0.0.1:#{port}", "-T", "token", "stats")
    assert status.success?, out
    assert_match(/"requests_count":0/, out)
  end

  def test_a_certificate_for_each_name
    cert, key = @certificates.issue("other", names: ["other.test", "*.wild.test"])
    start sni: [{ cert:, key: }]
    { "localhost" => "server", "other.test" => "other", "a.wild.test" => "other" }.each do |name, subject|
      assert_equal "/CN=#{subject}", shown(name:).subject.to_s
    end
  end

  def test_encrypted_key
    @cert, @key = @certificates.issue("locked", password: "open sesame")
    start key_password_command: "echo open sesame"
    connect { |tls| assert_equal "Hello World", ask(tls, "/") }
  end

  def test_an_expired_certificate_does_not_end_a_hot_restart
    start
    serial = shown.serial
    @certificates.issue("server", days: -1)
    assert_log(/! The new certificates are of no use, the old ones stay: cert file '#{@cert}': the certificate has exp/)
    assert_equal serial, shown.serial
    hot_restart
    assert_log(/! WARNING: cert file '#{@cert}': the certificate has expired/)
    assert_raises(OpenSSL::SSL::SSLError) { shown }
  end

  def test_hang_up_reads_certificates_again
    ["", "workers 2"].each do |mode|
      log = file("redirected.log", "")
      start more: "stdout_redirect #{log.dump}, #{log.dump}, true\n#{mode}"
      faults = -> { File.read(log).scan(/! The new certificates are of no use.*cert file '#{@cert}'/).size }
      File.rename(file("server.crt", "nonsense"), @cert) # at once: half of it would be told, too
      server.wait_until("every process tells once", 10) { faults.call == [mode[/\d/].to_i, 1].max }
      told = faults.call
      server.signal(:HUP)
      server.wait_until("every process tells again", 10) { faults.call == told * 2 }
      @cert, @key = @certificates.issue("server")
    end
  end

  def test_what_the_operator_has_to_mend
    other = @certificates.issue("other").last
    locked = @certificates.issue("locked", password: "open sesame").last
    expired, expired_key = @certificates.issue("expired", days: -1)
    {
      { cert: expired, key: expired_key, more: "workers 2" } => /cert file '#{expired}': the certificate has expired/,
      { cert: "/nowhere.crt" } => %r{Cert file '/nowhere.crt' does not exist},
      { key: "/nowhere.key" } => %r{Key file '/nowhere.key' does not exist},
      { key: other } => /key file '#{other}': does not belong to cert file '#{@cert}'/,
      { key: locked } => /key file '#{locked}': it is encrypted, and there is no key_password_command/,
      { cert: @key } => /cert file '#{@key}': no certificate/,
      { ssl_cipher_filter: "NONSENSE" } => /ssl_cipher_filter: no cipher match/
    }.each do |options, message|
      start(wait: false, **options)
      assert_exits 1
      assert_match message, server.log
      assert_operator server.log.lines.size, :<, 12, server.log
    end
  end

  private

  def start(threads: "1:5", more: "", wait: true, **options)
    @port = UniquePort.call
    options = { cert: @cert, key: @key }.merge(options)
    config = "ssl_bind '127.0.0.1', #{@port}, #{options.inspect}\n#{more}\n"
    spawn_server "-t", threads, app: file("app.ru", APP), config:, listen: false, wait:
  end

  # What the process that serves says of itself.
  def handshake_stats(control)
    stats = JSON.parse(Net::HTTP.get("127.0.0.1", "/stats", control))
    stats.key?("worker_status") ? stats["worker_status"].first["last_status"] : stats
  end

  def connect(version: nil, certificate: nil, key: nil, name: "localhost")
    context = OpenSSL::SSL::SSLContext.new
    context.ca_file = @certificates.ca
    context.verify_mode = OpenSSL::SSL::VERIFY_PEER
    context.min_version = context.max_version = version if version
    if certificate
      context.cert = OpenSSL::X509::Certificate.new(File.read(certificate))
      context.key = OpenSSL::PKey.read(File.read(key))
    end
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @port), context)
    tls.sync_close = true
    tls.hostname = name
    tls.connect
    yield tls
  ensure
    tls&.close
  end

  # Asks again and again while the block runs; fails when a request does.
  # @yieldparam seen [Array<Integer>] the serial number that each client saw last
  # @yieldparam clients [Array<Thread>]
  def beside_clients
    stop = false
    seen = Array.new(3)
    clients = Array.new(3) { |n| Thread.new { seen[n] = shown.serial until stop } }
    yield seen, clients
    stop = true
    clients.each(&:value) # raises what a request did
    assert seen.all?, "every client was answered"
  ensure
    stop = true
    clients&.each(&:join)
  end

  # @return [OpenSSL::X509::Certificate] what a client sees
  def shown(**options) = connect(**options) { |tls| ask(tls, "/") && tls.peer_cert }

  def ask(tls, target, body: nil)
    length = "Content-Length: #{body.bytesize}\r\n" if body
    tls.write("#{body ? "POST" : "GET"} #{target} HTTP/1.1\r\nHost: localhost\r\n#{length}\r\n#{body}")
    ResponseReader.new(tls).receive.body
  end

  def s_client(*arguments)
    command = ["openssl", "s_client", "-connect", "127.0.0.1:#{@port}", "-ign_eof", *arguments]
    output, = Open3.capture2e("timeout", "10", *command, stdin_data: "GET / HTTP/1.0\r\n\r\n")
    output
  end

  def renegotiate
    command = ["openssl", "s_client", "-connect", "127.0.0.1:#{@port}", "-tls1_2"]
    Open3.popen2e("timeout", "10", *command) do |input, output|
      seen = +""
      seen << output.readpartial(4096) until seen.include?("Extended master secret")
      input.puts("R")
      seen << output.read
    end
  end

  def read_all(socket)
    socket.read
  rescue Errno::ECONNRESET
    ""
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
