# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/certificates"

# Responses that are made while the client reads them.
class StreamsTest < ServerCase
  parallelize_me!

  SIZE = 8_000_000

  APP = <<~RUBY.freeze
    gate = ENV.fetch("GATE")
    large = Enumerator.new do |parts|
      parts << "x" * #{SIZE}
      warn "made"
      sleep 0.01 until File.exist?(gate)
      parts << "end"
    end
    endless = Enumerator.new do |parts|
      # In pairs: the second of them follows so closely that it is held back for a while.
      loop { parts << "event\n" << "data\n"; sleep 0.05 }
    ensure
      warn "nobody reads this"
    end
    no_array = ["as ", "each"].each
    def no_array.to_ary = nil
    kept = []
    elsewhere = ->(stream) { stream.write("a"); Thread.new { loop { stream.write("b"); sleep 0.05 } } }
    put_aside = ->(stream) { stream.write("a"); kept << stream }
    bodies = { "/large" => large, "/endless" => endless, "/elsewhere" => elsewhere, "/put-aside" => put_aside }
    run ->(env) { [200, {}, bodies.fetch(env["PATH_INFO"], no_array)] }
  RUBY

  def setup
    super
    @gate = File.join(folder, "open")
  end

  def test_what_the_client_was_slow_to_read_comes_while_the_next_part_is_made
    start
    read_before_the_end(server.connect)
  end

  def test_so_it_does_over_tls
    cert, key = Certificates.new(folder).issue("server")
    start("-b", "ssl://127.0.0.1:#{port = UniquePort.call}?cert=#{cert}&key=#{key}")
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port))
    tls.sync_close = true
    read_before_the_end(tls.connect)
  end

  def test_a_client_that_leaves_ends_the_response
    start
    socket = server.connect
    socket.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    socket.gets("data\n")
    socket.close
    assert_log(/nobody reads this/)
  end

  # As that of Rails while it streams.
  def test_a_body_whose_array_is_nil_is_read_by_each
    start
    assert_equal "as each", get("/").body
  end

  # Once `call` has returned, what becomes of the stream is the application's affair, also when the server ends.
  %w[/elsewhere /put-aside].each do |path|
    { "single mode" => [], "a cluster" => %w[-w 1] }.each do |mode, arguments|
      define_method("test_#{path.delete("/")}_streams_do_not_hold_up_the_end_in_#{mode}".tr(" -", "_")) do
        %i[INT TERM].each do |signal|
          start(*arguments)
          with_stream(path) do
            server.signal(signal)
            server.wait_exit
          end
        end
      end

      define_method("test_#{path.delete("/")}_streams_do_not_hold_up_a_restart_in_#{mode}".tr(" -", "_")) do
        start(*arguments)
        with_stream(path) { hot_restart }
        assert_equal "as each", get("/").body
      end
    end
  end

  def test_a_phased_restart_waits_for_no_stream
    start("-w", "1")
    with_stream("/put-aside") do
      server.signal(:USR1)
      assert_log(/Worker 0 .* booted in .* phase: 1/)
    end
  end

  private

  def with_stream(path)
    socket = server.connect
    socket.write("GET #{path} HTTP/1.1\r\nHost: a\r\n\r\n")
    Timeout.timeout(Patience.for(10)) { socket.gets("a\r\n") }
    yield
  ensure
    socket.close
  end

  def start(*arguments) = spawn_server("-t", "2:2", *arguments, app: file("streams.ru", APP), env: { "GATE" => @gate })

  def read_before_the_end(socket)
    socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_log(/made/)
    count = 0
    Timeout.timeout(Patience.for(20)) { count += socket.readpartial(65_536).count("x") until count == SIZE }
    File.write(@gate, "")
    assert_equal "3\r\nend\r\n0\r\n\r\n", Timeout.timeout(Patience.for(10)) { socket.read(13) }.delete_prefix("\r\n")
  ensure
    socket.close
  end
end
