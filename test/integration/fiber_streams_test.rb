# frozen_string_literal: true

require "openssl"
require_relative "../helpers/certificates"
require_relative "../helpers/fiber_case"
require_relative "../helpers/web_socket"

# Streams and sockets that stay, in fibers, and clients that do not read.
class FiberStreamsTest < FiberCase
  # Kilobytes that a client may cost which does not read.
  UNREAD = 8 << 10

  # It sends without end.
  FLOOD = <<~'RUBY'
    use(Class.new do
      def initialize(app)
        @app = app
        @part = "f" * 65_536
      end

      def call(env)
        return @app.call(env) unless env["PATH_INFO"] == "/ai/flood"

        [200, {}, ->(stream) { flood(stream) }]
      end

      def flood(stream)
        loop { stream.write(@part) && File.write(ENV.fetch("MARKS"), ".", mode: "a") }
      ensure
        stream.close
      end
    end)
  RUBY

  def test_clients_that_stop_reading_hold_up_nobody_and_cost_little
    start 'rserve { fiber_routes "/ai/*", max: 1000 }', before: FLOOD
    listening = Array.new(200) { ask("/ai/listen") }
    server.wait_until("they listen", 20) { get("/listening").body == "200" }
    before = memory
    stopped = Array.new(3) { server.connect.tap { |it| it.write("GET /ai/flood HTTP/1.1\r\nHost: a\r\n\r\n") } }
    server.wait_until("their fibers are parked", 60) { parked? }
    10.times { assert_equal "200", get("/tell").body }
    get("/over")
    assert_equal ["event " * 10], bodies(listening).uniq
    assert_equal "held nothing", get("/ai/quick").body
    assert_operator memory - before, :<=, stopped.size * UNREAD
  ensure
    stopped&.each(&:close)
  end

  # It writes on and on, for a while each time, and counts; elsewhere it tells how far it is.
  TELLING = <<~'RUBY'
    written = 0
    run lambda { |env|
      next [200, {}, [written.to_s]] unless env["PATH_INFO"] == "/ai/on"

      [200, {}, ->(stream) { loop { stream.write("on\n"); written += 1; 5000.times {} } }]
    }
  RUBY

  def test_who_writes_event_after_event_lets_threads_have_their_turn
    start(app: TELLING)
    client = server.connect
    client.write("GET /ai/on HTTP/1.1\r\nHost: a\r\n\r\n")
    reading = Thread.new { loop { client.readpartial(65_536) } }
    server.wait_until("it writes", 10) { get("/").body.to_i.positive? }
    told = Array.new(21) { get("/").body.to_i }
    between = told.each_cons(2).map { |before, after| after - before }.sort
    # The turn of a thread that lets nobody go first is 100 ms.
    assert_operator between[10], :<, 100, between.inspect
  ensure
    reading&.kill
    client&.close
  end

  def test_web_sockets
    skip "not here: websocket-driver" unless there?("websocket/driver")
    start 'rserve { fiber_routes "/ai/*", max: 1000 }', app: <<~'RUBY'
      require "websocket/driver"
      Conversation = Struct.new(:env, :io) do
        def url = "ws://localhost/"
        def write(octets) = io.write(octets)

        def serve
          driver = WebSocket::Driver.rack(self)
          driver.on(:message) { |event| driver.text("you said #{event.data}") }
          driver.on(:close) { |event| warn "closed with #{event.code}" }
          driver.start
          loop { driver.parse(io.readpartial(4096)) }
        rescue EOFError, SystemCallError
          io.close
        end
      end

      run lambda { |env|
        next [200, {}, ["hello"]] unless WebSocket::Driver.websocket?(env)

        Conversation.new(env, env["rack.hijack"].call).serve
        [200, {}, []]
      }
    RUBY
    sockets = Array.new(200) { WebSocket.new(server.connect, "/ai/socket") }
    sockets.each_with_index { |socket, number| socket.send_text("hello #{number}") }
    assert_equal(Array.new(200) { |number| "you said hello #{number}" }, sockets.map(&:receive))
    assert_equal "hello", get("/").body
    sockets.each(&:close)
    assert_log(/(closed with 1000\n.*){200}/m)
  end

  def test_tls
    certificate, key = Certificates.new(folder).issue("server")
    port = UniquePort.call
    start(nil, "-b", "ssl://127.0.0.1:#{port}?cert=#{certificate}&key=#{key}")
    waiting = Array.new(20) { ask_by_tls(port, "/ai/hold") } << ask_by_tls(port, "/ai/big")
    server.wait_until("they wait", 20) { marks == 20 }
    assert_equal "hello", get("/hello").body
    assert_equal ["0 1 2 "], bodies([ask_by_tls(port, "/ai/each"), ask_by_tls(port, "/ai/call")]).uniq
    open_gate
    *held, big = bodies(waiting)
    assert_equal [["held"], BIG], [held.uniq, big.bytesize]
  end

  private

  def ask_by_tls(port, path)
    socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).connect
    socket.write("GET #{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    ResponseReader.new(socket)
  end

  # Nobody has written anything for a while.
  def parked?
    before = marks
    sleep 0.3
    before.positive? && before == marks
  end

  def memory = File.read("/proc/#{server.pid}/status")[/^VmRSS:\s+(\d+)/, 1].to_i
end
