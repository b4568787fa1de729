# frozen_string_literal: true

require "open3"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"

# rservectl, and the control server that it speaks to.
class ControlTest < ServerCase
  parallelize_me!

  TOKEN = "not-a-secret"
  # Seconds that the control server gives a client for it.
  HANDSHAKE = 5

  def test_stats
    spawn_controlled
    get("/")
    stats = JSON.parse(control("stats").lines.last)
    assert_equal %w[started_at backlog running pool_capacity max_threads requests_count],
                 stats.keys - %w[busy_threads versions accept_queue accept_queue_limit], "Puma's keys, in its order"
    assert_equal [0, 5, 1], stats.values_at("backlog", "max_threads", "requests_count")
  end

  def test_stop
    spawn_controlled
    assert_match(/Command stop sent success/, control("stop"))
    assert_exits 0
    assert_log(/Goodbye!/)
  end

  def test_halt_waits_for_nobody
    spawn_controlled app: file("stuck.ru", "run ->(env) { warn 'stuck'; Queue.new.pop }")
    stuck = server.connect
    stuck.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_log(/stuck/)
    control("halt")
    assert_exits 0
    assert_log(/Stopping immediately!/)
  ensure
    stuck&.close
  end

  def test_restart
    spawn_controlled
    mark = server.mark
    control("restart")
    server.wait_for_log(/Ctrl-C/, after: mark)
    assert_serving
    assert_match(/"requests_count":1/, control("stats"), "the control server is back too")
  end

  def test_garbage_collection_and_backtraces
    spawn_controlled
    assert_match(/Command gc sent success/, control("gc"))
    assert_operator JSON.parse(control("gc-stats").lines.last).fetch("count"), :>, 0
    backtraces = JSON.parse(control("thread-backtraces").lines.last)
    assert_includes backtraces.map(&:keys), %w[name backtrace]
  end

  def test_what_single_mode_does_not_have
    spawn_controlled
    assert_refused(/refork not available|Unsupported action|Command error/) { control("refork", fails: true) }
  end

  def test_a_wrong_token_is_turned_away
    spawn_controlled
    assert_refused(/Unauthorized access to server \(wrong auth token\)/) do
      control("stats", token: "a-guess", fails: true)
    end
    refute server.exited?
  end

  def test_over_a_unix_socket
    socket = File.join(folder, "control.sock")
    spawn_controlled(url: "unix://#{socket}")
    assert_match(/"requests_count":0/, control("stats"))
    server.stop
    refute_path_exists socket
  end

  def test_by_the_state_file
    state = File.join(folder, "server.state")
    spawn_controlled("-S", state)
    assert_match(/"requests_count":0/, run_control("-S", state, "stats"))
    run_control("-S", state, "stop")
    assert_exits 0
  end

  def test_by_the_pid
    spawn_server
    assert_match(/is started/, run_control("-p", server.pid.to_s, "status"))
    run_control("-p", server.pid.to_s, "stop")
    assert_exits :TERM
    assert_refused(/No pid/) { run_control("-p", server.pid.to_s, "stop", fails: true) }
  end

  def test_half_a_tls_record_holds_nothing_up = assert_undisturbed("-t", "1:1")

  def test_half_a_tls_record_holds_no_cluster_up = assert_undisturbed("-w", "1", "-t", "1:1")

  def test_a_command_that_is_none
    assert_refused(/Invalid command: frobnicate/) { run_control("frobnicate", fails: true) }
  end

  private

  # A hot restart, a command and TERM are done while clients are in the middle of a handshake.
  def assert_undisturbed(*arguments)
    cert, key = Certificates.new(folder).issue("control")
    port = UniquePort.call
    spawn_controlled(*arguments, url: "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}")
    2.times do
      begun = now
      clients = Array.new(3) { half_a_record(port) }
      assert_match(/"requests_count":|"booted_workers":1/, control("stats"))
      hung_up = clients.select { |socket| socket.wait_readable(0) }
      assert_empty hung_up if now - begun < HANDSHAKE
      mark = server.mark
      server.signal(:USR2)
      server.wait_for_log(/Ctrl-C/, after: mark)
      assert_serving
      assert_equal [""], clients.map { |socket| ended(socket) }.uniq
    end
    client = half_a_record(port)
    server.signal(:TERM)
    assert_exits :TERM
    assert_empty ended(client)
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def half_a_record(port)
    socket = server.wait_until("the control server is there", 10) do
      TCPSocket.new("127.0.0.1", port)
    rescue Errno::ECONNREFUSED
      nil
    end
    socket.tap { socket.write("\x16\x03\x01\x02") }
  end

  def ended(socket)
    socket.read
  rescue Errno::ECONNRESET
    ""
  ensure
    socket.close
  end

  def spawn_controlled(*arguments, url: "tcp://127.0.0.1:#{UniquePort.call}", **options)
    @url = url
    spawn_server("--control-url", url, "--control-token", TOKEN, *arguments, **options)
  end

  def control(command, token: TOKEN, fails: false) = run_control("-C", @url, "-T", token, command, fails:)

  # @return [String] what the command printed
  def run_control(*arguments, fails: false)
    output, status = Open3.capture2e(RbConfig.ruby, "-Ilib", TestServer.rservectl, *arguments, chdir: TestServer::ROOT)
    assert_equal fails ? 1 : 0, status.exitstatus, output
    output
  end

  def assert_refused(reason) = assert_match(reason, yield)
end
