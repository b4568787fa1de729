# frozen_string_literal: true

require_relative "../helpers/server_case"

# `shutdown_delay`: after TERM everything goes on for a while, so that those who send requests here can be told.
class ShutdownDelayTest < ServerCase
  parallelize_me!

  MODES = [[], %w[-w 2], %w[-w 2 --preload], %w[-w 2 -f]].freeze

  MODES.each do |arguments|
    define_method("test_serves_and_says_goodbye_until_a_second_signal_#{arguments.join}") do
      spawn_server(*arguments, config: "rserve { shutdown_delay 80 }")
      await_workers(arguments)
      kept = server.connect
      assert_nil ask(kept)["Connection"]
      server.signal(:TERM)
      assert_log(/- Serving for 80s more, then shutting down/)
      server.wait_until("it says goodbye", 20) { get("/")["Connection"] == "close" }
      20.times { assert_equal "Hello World", get("/").body }
      # Each of the workers is told, be it a moment later than another.
      server.wait_until("the kept connection is closed", 20) { ask(kept)["Connection"] == "close" }
      server.signal(:INT)
      assert_exits :TERM
      assert_log(/Goodbye!/)
      refute_log(/Cancelled/)
    ensure
      kept&.close
    end

    define_method("test_ends_by_itself_#{arguments.join}") do
      spawn_server(*arguments, config: "rserve { shutdown_delay 0.3 }")
      await_workers(arguments)
      server.signal(:TERM)
      assert_log(/- Serving for 0\.3s more/)
      assert_exits :TERM
    end

    define_method("test_int_knows_none_#{arguments.join}") do
      spawn_server(*arguments, config: "rserve { shutdown_delay 80 }")
      server.signal(:INT)
      assert_exits 0
      refute_log(/Serving for/)
    end
  end

  def test_a_worker_that_is_forked_meanwhile_says_goodbye_too
    spawn_server("-w", "1", config: "rserve { shutdown_delay 80 }")
    await_workers(%w[-w 1])
    server.signal(:TERM)
    assert_log(/- Serving for 80s more/)
    mark = server.mark
    Process.kill(:KILL, Integer(server.log[/Worker 0 \(PID: (\d+)\) booted/, 1]))
    server.wait_for_log(/Worker 0 \(PID: \d+\) booted/, after: mark)
    server.wait_until("it says goodbye", 20) { get("/")["Connection"] == "close" }
    server.signal(:TERM)
    assert_exits :TERM
  end

  private

  def await_workers(arguments)
    count = arguments[1].to_i
    count.times { |index| server.wait_for_log(/Worker #{index} \(PID: \d+\) booted/) }
  end

  def ask(socket)
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    ResponseReader.new(socket).receive
  end
end
