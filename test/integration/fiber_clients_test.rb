# frozen_string_literal: true

require "openssl"
require_relative "../helpers/certificates"
require_relative "../helpers/fiber_case"
require_relative "../helpers/http2_client"

# Clients that go while the fiber that serves them waits for something else.
class FiberClientsTest < FiberCase
  # It waits for an event that never comes, before its response or in the middle of it, and says how that ended; or for
  # the gate.
  APP = <<~'RUBY'
    require "json"
    GATE, MARKS = ENV.values_at("GATE", "MARKS")

    Waiting = Struct.new(:path) do
      def mark = File.write(MARKS, ".", mode: "a")

      def wait
        mark
        Queue.new.pop
      ensure
        Queue.new.pop(timeout: 0.01) # may wait, too
        warn "#{path} ended by #{$!.class}: #{$!.message}"
      end

      def each
        yield "some"
        wait
      end

      def call(stream)
        stream.write("some")
        wait
      ensure
        stream.close
      end

      def close = warn("#{path} closed")
    end

    def go_on_after(error, stream)
      warn "goes on after #{error.class}"
      mark
      Queue.new.pop(timeout: 0.05)
      stream.write("more")
    rescue StandardError => e
      warn "and ended by #{e.class}"
      raise
    ensure
      stream.close
    end

    def stubborn(path)
      lambda { |stream|
        stream.write("some")
        begin
          Waiting.new(path).wait
        rescue StandardError => e
          go_on_after(e, stream)
        end
      }
    end

    def mark = File.write(MARKS, ".", mode: "a")

    class Flood
      def call(stream)
        loop { stream.write("f" * 65_536) }
      rescue StandardError => e
        warn "flood ended by #{e.class}"
        Queue.new.pop(timeout: 0.3)
        warn "flood is over"
      end
    end

    run lambda { |env|
      path = env["REQUEST_PATH"] || env["PATH_INFO"]
      case path[%r{\w+\z}]
      when "app" then Waiting.new(path).wait
      when "each" then [200, {}, Waiting.new(path).tap { |it| it.singleton_class.undef_method(:call) }]
      when "call" then [200, {}, Waiting.new(path).tap { |it| it.singleton_class.undef_method(:each) }]
      when "stubborn" then [200, {}, stubborn(path)]
      when "flood" then [200, {}, Flood.new]
      when "gate"
        mark
        sleep 0.01 until File.exist?(GATE)
        [200, {}, ["through"]]
      when "read"
        begin
          mark
          env["rack.input"].read
          warn "all read"
        rescue StandardError => e
          warn "reading ended by #{e.class}"
          Queue.new.pop(timeout: 0.3)
          warn "reading is over"
          raise
        end
        Waiting.new(path).wait
      when "figures" then [200, {}, [Puma.stats_hash.values_at(:fibers, :fiber_backlog, :max_fibers).to_json]]
      end
    }
  RUBY

  CONFIG = <<~'RUBY'
    lowlevel_error_handler { |error| warn("lowlevel: #{error.class}") || [500, {}, []] }
    rserve { fiber_routes "/ai/*"; http2; stream_uploads "/ai/read" }
  RUBY

  PLACES = %w[app each call].freeze

  def test_a_reset_ends_the_wait_before_the_response_and_in_the_middle_of_it
    start
    by_every_transport do |name, connect|
      PLACES.each do |place|
        assert_told("/ai/#{name}/#{place}") { |path| reset(ask_on(connect.call, path)) }
      end
    end
    %w[each call].each { |place| assert_equal 3, server.log.scan(%r{/#{place} closed$}).size }
    assert_no_error_told
  end

  def test_a_client_that_closed_its_half_gets_its_answer
    start
    close_gate
    clients = []
    by_every_transport { |_, connect| clients << ask_on(connect.call, "/ai/gate") }
    server.wait_until("they wait", 20) { marks == 3 }
    clients.each { |client| client.to_io.close_write }
    # Those that reset their connections are told after them.
    assert_told("/ai/app") { |path| reset(ask_on(server.connect, path)) } if interrupts?
    open_gate
    assert_equal(%w[through] * 3, clients.map { |client| ResponseReader.new(client).receive.body })
    assert_no_error_told
  ensure
    clients&.each { |client| client.to_io.close }
  end

  def test_a_later_request_of_the_connection
    start
    open_gate
    client = ask_on(server.connect, "/ai/gate")
    assert_equal "through", ResponseReader.new(client).receive.body
    assert_told("/ai/later/app") { |path| reset(ask_on(client, path)) }
    assert_no_error_told
  end

  def test_one_stream_of_http2_and_then_all_of_them
    start
    close_gate
    client = Http2Client.new(server.connect)
    waiting = client.begin_request("/ai/gate")
    server.wait_until("it waits", 20) { marks == 1 }
    PLACES.each do |place|
      assert_told("/ai/#{place}") do |path|
        stream = client.begin_request(path)
        server.wait_until("it waits, too", 20) { marks == 1 }
        client.write(Http2Frames.rst_stream(stream))
      end
    end
    open_gate
    assert_equal "through", client.await(waiting).body
    client.sync
    assert_told("/ai/lost/app", "/ai/lost/each") do |*paths|
      paths.each { |path| client.begin_request(path) }
      server.wait_until("they wait", 20) { marks == 2 }
      client.close
    end
    assert_no_error_told
  ensure
    client&.close
  end

  def test_an_application_that_goes_on_hears_it_again_at_its_next_write
    start
    skip_without_interrupts
    reset(ask_on(server.connect, "/ai/stubborn"))
    assert_log(/goes on after Rserve::ClientGone$/)
    assert_log(/and ended by Rserve::ConnectionError$/)
    assert_all_ended
    assert_no_error_told
  end

  def test_who_waits_for_the_client_itself_hears_it_once
    start
    client = ask_on(server.connect, "/ai/flood")
    client.readpartial(1000)
    reset(client, 0)
    assert_log(/flood ended by Rserve::ConnectionError\n/)
    assert_log(/flood is over/)
    head = "POST /ai/read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    reset(server.connect.tap { |it| it.write(head, "some") })
    assert_log(/reading ended by Rserve::BodyAborted\n/)
    assert_log(/reading is over/)
    assert_all_ended
    skip_without_interrupts
    # Its body is read; what it waits for then is another matter.
    reader = server.connect.tap { |it| it.write(head, "0123456789") }
    assert_log(/all read/)
    reset(reader, 3)
    assert_log(%r{/ai/read ended by Rserve::ClientGone})
    assert_all_ended
    assert_no_error_told
  end

  private

  def start(*mode)
    @certificate, @key = Certificates.new(folder).issue("server")
    @tls = UniquePort.call
    @unix = File.join(folder, "s")
    super(CONFIG, *mode, "-b", "ssl://127.0.0.1:#{@tls}?cert=#{@certificate}&key=#{@key}", "-b", "unix://#{@unix}",
          app: APP)
  end

  def by_every_transport
    yield "plain", -> { server.connect }
    yield "unix", -> { UNIXSocket.new(@unix) }
    yield "tls", -> { OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @tls)).connect }
  end

  # Ruby's interface for schedulers has it from 4.0 on, that of async also on earlier ones.
  def interrupts?
    require "async"
    Async::Scheduler.method_defined?(:fiber_interrupt)
  end

  def skip_without_interrupts
    skip "the scheduler has no fiber_interrupt" unless interrupts?
  end

  def ask_on(socket, path) = socket.tap { socket.write("GET #{path} HTTP/1.1\r\nHost: a\r\n\r\n") }

  # The client goes when so many wait.
  def reset(client, marks = 1)
    server.wait_until("it waits", 20) { self.marks == marks }
    socket = client.to_io
    socket.setsockopt(Socket::Option.linger(true, 0)) unless socket.is_a?(UNIXSocket)
    socket.close
  end

  # The clients of these paths go in the block, and their fibers are told.
  def assert_told(*paths)
    skip_without_interrupts
    File.write(@marks, "")
    yield(*paths)
    paths.each { |path| assert_log(/^#{path} ended by Rserve::ClientGone: the client closed the connection$/) }
  end

  def assert_all_ended
    server.wait_until("all have ended", 20) { figures.first.zero? }
  end

  def assert_no_error_told
    assert_all_ended
    refute_log(/lowlevel|Rack app|Fibers/)
  end
end
