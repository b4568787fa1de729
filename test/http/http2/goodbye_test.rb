# frozen_string_literal: true

require_relative "http2_case"

# A server that stops or restarts answers what it has taken, and tells its clients to go elsewhere.
class Http2GoodbyeTest < Http2Case
  parallelize_me!

  APP = <<~RUBY
    gate = ENV.fetch("GATE")
    run lambda { |env|
      if env["PATH_INFO"] == "/wait"
        warn "begun"
        sleep 0.01 until File.exist?(gate)
      end
      [200, {}, [Process.pid.to_s]]
    }
  RUBY

  def setup
    super
    @gate = File.join(folder, "open")
  end

  def open_gate = File.write(@gate, "")

  # A request that is being served, one whose body is on its way, and one that comes after the first GOAWAY.
  def assert_says_goodbye
    client = open_client
    pid = client.request("/").body
    waiting = client.begin_request("/wait")
    assert_log(/begun/)
    posting = client.begin_request("/", method: "POST", ended: false)
    client.sync
    yield
    client.read_until(20) { client.goaways.any? }
    late = client.begin_request("/")
    client.write(Http2Frames.data(posting, "x"))
    open_gate
    [waiting, posting].each do |stream|
      answer = client.await(stream, timeout: 20)
      assert_equal [200, pid], [answer.status, answer.body]
    end
    answer = client.await(late, timeout: 20)
    # If it came after the second one it was not begun, and may be sent elsewhere.
    assert answer.status == 200 || answer.reset == :refused_stream, answer.inspect
    client.read_all(timeout: 20)
    assert_equal [:no_error], client.goaways.map(&:reason).uniq
    assert_equal [0x7fff_ffff, answer.reset ? posting : late], client.goaways.map(&:last_stream)
  end

  def test_a_stop
    start APP, env: { "GATE" => @gate }
    assert_says_goodbye { server.signal(:TERM) }
    assert_exits :TERM
  end

  def test_a_stop_of_a_cluster
    start APP, "-w", "2", env: { "GATE" => @gate }
    assert_says_goodbye { server.signal(:TERM) }
    server.wait_exit
  end

  def test_a_phased_restart
    start APP, "-w", "1", env: { "GATE" => @gate }
    assert_says_goodbye { server.signal(:USR1) }
    server.wait_until("another worker", 20) { open_client.request("/").status == 200 }
  end

  def test_a_hot_restart
    start APP, env: { "GATE" => @gate }
    mark = server.mark
    assert_says_goodbye { server.signal(:USR2) }
    server.wait_for_log(/Ctrl-C/, after: mark)
    assert_equal 200, open_client.request("/").status
  end

  def test_a_client_that_asks_for_nothing_does_not_keep_a_server
    start APP, env: { "GATE" => @gate }
    idle = open_client
    idle.request("/")
    silent = open_client
    silent.sync
    server.signal(:TERM)
    [idle, silent].each do |client|
      client.read_all(timeout: 20)
      assert_equal :no_error, client.goaways.last.reason
    end
    assert_exits :TERM
  end

  # A client that keeps asking, over several connections, while workers are replaced: every request is answered, or was
  # refused and is sent again.
  def test_no_request_is_lost
    start APP, "-w", "2", env: { "GATE" => @gate }
    answered = 0
    restarts = 2
    thread = Thread.new { restarts.times { server.signal(:USR1) && sleep(1) } }
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 4
    until Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      client = Http2Client.new(server.connect)
      begin
        until client.goaways.any? || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
          streams = Array.new(5) { client.begin_request("/") }
          streams.each do |stream|
            answer = client.await(stream)
            assert answer.status == 200 || answer.reset == :refused_stream, answer.inspect
            answered += 1
          end
        end
      ensure
        client.close
      end
    end
    thread.join
    assert_operator answered, :>, 20
  end
end
