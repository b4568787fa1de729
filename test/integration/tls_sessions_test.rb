# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/certificates"

# What a client was given to resume its TLS session with, and where that is good.
class TLSSessionsTest < ServerCase
  parallelize_me!

  APP = "run ->(_env) { [200, {}, [Process.pid.to_s]] }"
  VERSIONS = %i[TLS1_2 TLS1_3].freeze
  # How a client's visit went.
  Visit = Struct.new(:pid, :resumed, :session)

  def setup
    super
    @certificates = Certificates.new(folder)
    @cert, @key = @certificates.issue("server")
  end

  def test_sessions_are_resumed_at_other_workers_and_after_restarts
    start "workers 2"
    assert_resumed_through("another worker" => -> {}, "new certificates" => -> { renew },
                           "a phased restart" => -> { phased_restart }, "a hot restart" => -> { hot_restart },
                           "another one" => -> { hot_restart }) { |seen| seen.uniq.size > 1 }
  end

  def test_sessions_are_resumed_after_hot_restarts_of_a_single_process
    start ""
    assert_resumed_through("a hot restart" => -> { hot_restart }, "another one" => -> { hot_restart })
  end

  def test_sessions_are_resumed_after_restarts_that_overlap
    start "workers 1\npreload_app!\nrserve { overlap_restart; restart_settle 0 }"
    assert_resumed_through("a restart" => -> { overlap_restart }, "another one" => -> { overlap_restart })
  end

  # What a session was begun with has been checked then, and is not checked again.
  def test_a_session_is_good_only_where_as_much_is_demanded
    client = @certificates.issue("client")
    other = @certificates.issue("other", names: ["other.test"])
    open, same, named, strict, closed = Array.new(5) { UniquePort.call }
    start "", port: open, binds: {
      same => {}, named => { cert: other.first, key: other.last }, strict => { ssl_cipher_filter: "ECDHE+AESGCM" },
      closed => { ca: @certificates.ca, verify_mode: "force_peer" }
    }
    VERSIONS.each do |version|
      session = visit(version, port: open).session
      [same, named, strict].zip([true, false, false]) do |port, resumed|
        assert_equal resumed, visit(version, session, port:).resumed, "#{version}: #{[same, named, strict].index(port)}"
      end
      assert_raises(OpenSSL::SSL::SSLError, EOFError, Errno::ECONNRESET) { visit(version, session, port: closed) }
      assert_clients_are_asked_after_a_restart(version, client, closed)
    end
  end

  # Everybody who may see the environment, the arguments or the log of a server would otherwise read what was said.
  def test_the_secret_is_nowhere_to_be_read
    start "workers 1"
    hot_restart
    secret = secret_of(server.pid)
    refute_nil secret
    worker = visit(:TLS1_3).pid
    [server.pid, worker].each do |pid|
      said = %w[environ cmdline].map { |name| File.binread("/proc/#{pid}/#{name}") }.join + server.log.b
      [secret, secret.unpack1("H*"), [secret].pack("m0")].each { |form| refute_includes said, form }
    end
  end

  # They may go out with the response, but are for connections that the client opens meanwhile, too.
  def test_sessions_are_given_before_a_response_that_takes_long
    go = File.join(folder, "go")
    start "", app: "run ->(_env) { sleep 0.01 until File.exist?(#{go.dump}); [200, {}, ['done']] }"
    given = 0
    ask_at_once(->(_) { given += 1 }) do |tls|
      while given < 2
        assert tls.to_io.wait_readable(Patience.for(5)), "no session came\n#{server.log}"
        assert_equal :wait_readable, tls.read_nonblock(1000, exception: false)
      end
      File.write(go, "")
      assert tls.read.end_with?("done")
    end
  end

  private

  def start(more, port: UniquePort.call, binds: {}, app: APP)
    @port = port
    own = { cert: @cert, key: @key }
    config = { port => {} }.merge(binds).map { |at, options| "ssl_bind '127.0.0.1', #{at}, #{own.merge(options)}\n" }
    spawn_server "-t", "1:2", app: file("app.ru", app), config: "#{config.join}#{more}\n", listen: false
  end

  # @param events [Hash{String => Proc}] after each of them both versions' sessions go on
  # @yieldparam seen [Array<Integer>] the processes that a session was resumed at so far; done when the block says so
  def assert_resumed_through(events)
    sessions = VERSIONS.to_h { |version| [version, visit(version).session] }
    events.each do |what, happen|
      happen.call
      sessions.each_key do |version|
        seen = []
        loop do
          visit = visit(version, sessions[version])
          assert visit.resumed, "#{version}, after #{what}, process #{visit.pid}\n#{server.log}"
          sessions[version] = visit.session
          seen << visit.pid
          break if !block_given? || yield(seen) || seen.size > 500
        end
      end
    end
  end

  def assert_clients_are_asked_after_a_restart(version, client, port)
    session = visit(version, port:, client:).session
    assert visit(version, session, port:, client:).resumed, version
    hot_restart
    refute visit(version, session, port:, client:).resumed, version
  end

  def visit(version, session = nil, port: @port, client: nil)
    latest = nil
    context = context_of(version, ->((_, given)) { latest = given })
    show(context, *client) if client
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port), context)
    tls.sync_close = true
    tls.session = session if session
    tls.connect
    tls.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    pid = Integer(tls.read[/\d+\z/])
    Visit.new(pid, tls.session_reused?, latest || session)
  ensure
    tls&.close
  end

  def context_of(version, session_given)
    context = OpenSSL::SSL::SSLContext.new
    context.min_version = context.max_version = version
    # Without a store of its own, with which a context that is collected would take its sessions along.
    context.session_cache_mode = OpenSSL::SSL::SSLContext::SESSION_CACHE_CLIENT |
                                 OpenSSL::SSL::SSLContext::SESSION_CACHE_NO_INTERNAL_STORE
    context.session_new_cb = session_given
    context
  end

  # A client whose request comes with the end of its handshake.
  # @yieldparam tls [OpenSSL::SSL::SSLSocket]
  def ask_at_once(session_given)
    near, far = UNIXSocket.pair
    server = TCPSocket.new("127.0.0.1", @port)
    back = Thread.new { IO.copy_stream(server, far) }
    hello = Thread.new { server.write(far.readpartial(1 << 16)) }
    tls = OpenSSL::SSL::SSLSocket.new(near, context_of(:TLS1_3, session_given))
    tls.connect
    hello.join
    tls.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.write(far.readpartial(1 << 16))
    yield tls
  ensure
    [hello, back].each { |thread| thread&.kill&.join }
    [near, far, server].each { |socket| socket&.close }
  end

  def show(context, certificate, key)
    context.cert = OpenSSL::X509::Certificate.new(File.read(certificate))
    context.key = OpenSSL::PKey.read(File.read(key))
  end

  def renew
    mark = server.mark
    @certificates.issue("server")
    server.wait_for_log(/New certificates.*New certificates/m, after: mark)
  end

  def phased_restart
    mark = server.mark
    server.signal(:USR1)
    server.wait_for_log(/Worker 1 \(PID: \d+\) booted in [\d.]+s, phase: 1/, after: mark)
  end

  def overlap_restart
    mark = server.mark
    server.signal(:USR2)
    server.wait_for_log(/serves/, after: mark, timeout: 40)
  end

  # @return [String, nil] all that is in memory that a process hands on for its tickets
  def secret_of(pid)
    Dir.glob("/proc/#{pid}/fd/*").each do |path|
      return File.binread(path) if File.readlink(path).include?("memfd:tickets")
    rescue Errno::ENOENT
      next
    end
    nil
  end
end
