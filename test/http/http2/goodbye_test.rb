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
    server.wait_until("another worker", 20) do
      open_client.request("/").status == 200
    rescue EOFError, SystemCallError
      false
    end
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
  # not begun, which the client is told.
  def test_no_request_is_lost
    start APP, "-w", "2", env: { "GATE" => @gate }
    restarts = Thread.new { 2.times { server.signal(:USR1) && sleep(1) } }
    deadline = now + 4
    answered = 0
    answered += ask_until_told_to_leave(deadline) while now < deadline
    restarts.join
    assert_operator answered, :>, 20
  end

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  # @return [Integer] how many were answered
  def ask_until_told_to_leave(deadline)
    client = Http2Client.new(server.connect)
    asked = []
    begin
      until client.goaways.any? || now > deadline
        some = Array.new(5) { client.begin_request("/").tap { |stream| asked << stream } }
        some.each { |stream| client.await(stream) }
      end
    rescue EOFError, Errno::EPIPE, Errno::ECONNRESET
      client.read_all
    end
    answered = asked.select { |stream| client.ended?(stream) && client.answers[stream].status == 200 }
    (asked - answered).each do |stream|
      beyond = client.goaways.any? && stream > client.goaways.last.last_stream
      assert beyond || client.answers[stream].reset == :refused_stream, "#{stream} of #{client.inspect} is lost"
    end
    answered.size
  ensure
    client&.close
  end
end
