# frozen_string_literal: true

require "open3"
require_relative "../helpers/screen"
require_relative "../helpers/server_case"

# What `rservectl` shows of a running server: the live view in a terminal, and `status`.
class TopTest < ServerCase
  parallelize_me!

  CLUSTER = <<~RUBY
    workers 2
    threads 2, 2
    worker_check_interval 1
  RUBY

  def teardown
    @screen&.close
    super
  end

  def test_shows_each_worker_and_its_load
    go = File.join(folder, "go")
    app = file("waits.ru", "run ->(_) { sleep 0.01 until File.exist?(#{go.dump}); [200, {}, ['went']] }")
    state = spawn_controlled(app:)
    top "-S", state
    shown = @screen.wait_for(/cluster of 2 workers, phase 0, up .*0 of 4 threads busy, 0 waiting.*q quits/m)
    assert_match(/^WORKER +PID PHASE THREADS +BACKLOG +REQ.S +SERVED +RSS +CHECK-IN$/, shown)
    assert_equal %w[0 1], shown.scan(%r{^ +(\d) +\d+ +0 +0/2 \.\. .* \d+ MB  \d+ s ago$}).flatten

    sockets = Array.new(2) { server.connect.tap { |socket| socket.write("GET / HTTP/1.0\r\n\r\n") } }
    @screen.wait_for(%r{2 of 4 threads busy.* [12]/2 [#.]{2} }m)
    FileUtils.touch(go)
    sockets.each { |socket| assert_equal "went", ResponseReader.new(socket).receive.body }
    @screen.wait_for(/0 of 4 threads busy/)
    @screen.type "q"
    assert_equal 0, @screen.wait_exit.exitstatus
    assert_predicate @screen, :restored?
  ensure
    sockets&.each(&:close)
  end

  def test_connections_that_nobody_accepts_are_told
    state = spawn_controlled(mode: "workers 1\nworker_timeout 600")
    worker = Integer(server.wait_for_log(/Worker 0 \(PID: (\d+)\) booted/)[1])
    server.suspend(worker)
    sockets = Array.new(3) { server.connect }
    server.wait_until("the master counts them", 10) do
      control("-S", state, "status").include?(", 3 connections not accepted yet:")
    end
    top "-S", state
    @screen.wait_for(/3 connections not accepted yet/)
  ensure
    Process.kill(:CONT, worker) if worker
    sockets&.each(&:close)
  end

  def test_counts_requests_a_second
    state = spawn_controlled(mode: "threads 1, 2")
    top "-S", state
    @screen.wait_for(/single mode, up/)
    serving = true
    client = Thread.new { get("/") while serving }
    @screen.wait_for(/[1-9]\d* requests? a second/)
    assert_match(%r{^ +- +#{server.pid} +- +[012]/2 }, @screen.lines.join("\n"))
  ensure
    serving = false
    client&.join
  end

  def test_ctrl_c_and_a_signal_end_it_and_leave_the_terminal_as_it_was
    url = "tcp://127.0.0.1:#{UniquePort.call}"
    spawn_controlled(url:, mode: "threads 1, 2")
    {
      -> { @screen.type "\x03" } => 0, -> { Process.kill(:INT, @screen.pid) } => 0,
      -> { Process.kill(:TERM, @screen.pid) } => nil
    }.each do |act, code|
      top "-C", url, "-T", "secret"
      @screen.wait_for(/q quits/)
      act.call
      status = @screen.wait_exit
      code ? assert_equal(code, status.exitstatus) : assert_equal(Signal.list["TERM"], status.termsig)
      assert_predicate @screen, :restored?
      @screen.close
    end
    @screen = nil
  end

  def test_lines_are_cut_to_a_small_window
    state = spawn_controlled
    top "-S", state, rows: 5, columns: 30
    @screen.wait_for(/^WORKER +PID PHASE THREADS$/)
    assert_operator @screen.lines.size, :<=, 5
    @screen.type "q"
    assert_equal 0, @screen.wait_exit.exitstatus
  end

  def test_goes_on_when_the_server_is_restarted
    url = "unix://#{folder}/control.sock"
    state = spawn_controlled(url:, mode: "threads 1, 2")
    top "-S", state
    @screen.wait_for(/0 of 2 threads busy/)
    server.signal(:INT)
    server.wait_exit
    @screen.wait_for(/no answer: No such file/)
    spawn_controlled(url:, mode: "threads 1, 3", state:)
    @screen.wait_for(/0 of 3 threads busy/)
  end

  def test_without_a_terminal_it_is_printed_once
    state = spawn_controlled
    out = control("-S", state, "top")
    assert_match(/\Arserve: cluster of 2 workers/, out)
    assert_equal 6, out.lines.size, out
    refute_includes out, "\e"
  end

  def test_fails_at_once_where_there_is_nothing_to_show
    url = "tcp://127.0.0.1:#{UniquePort.call}"
    assert_match(/\Arserve is not running: Connection refused/, control("-C", url, "top", fails: true))
    spawn_controlled(url:)
    assert_match(/\AUnauthorized/, control("-C", url, "-T", "a-guess", "top", fails: true))
  end

  def test_status_in_words
    state = spawn_controlled
    out = control("-S", state, "status")
    assert_match(/\Arserve is started\ncluster of 2 workers, phase 0, up .+:\n/, out)
    assert_match(/^  worker 1, pid \d+, phase 0: \d of 2 threads busy, 0 requests waiting, 0 served; reported/,
                 out)
    assert_equal "rserve is started\n", control("-p", server.pid.to_s, "status")
  end

  def test_status_of_puma_is_one_line_as_ever
    state = spawn_controlled
    out, = Open3.capture2e(RbConfig.ruby, File.join(TestServer::ROOT, "gem/puma/bin/pumactl"), "-S", state, "status")
    assert_equal "Puma is started\n", out
  end

  private

  # @param mode [String] of the configuration
  # @return [String] the state file
  def spawn_controlled(mode: CLUSTER, url: "tcp://127.0.0.1:#{UniquePort.call}", app: "test/rackup/hello.ru",
                       state: File.join(folder, "state"))
    spawn_server("--control-url", url, "--control-token", "secret", "-S", state, app:, config: mode)
    if mode == CLUSTER # heard of, so that there are figures
      server.wait_until("both workers have said how they are", 20) do
        control("-S", state, "stats").scan(/"max_threads":/).size == 2
      end
    end
    state
  end

  def top(*arguments, **window)
    @screen = Screen.new(control_command(*arguments, "top"), **window, chdir: TestServer::ROOT)
  end

  def control(*arguments, fails: false)
    output, status = Open3.capture2e(*control_command(*arguments), chdir: TestServer::ROOT)
    assert_equal fails ? 1 : 0, status.exitstatus, output
    output
  end

  def control_command(*arguments) = [RbConfig.ruby, "-Ilib", TestServer.rservectl, "-F", "-", *arguments]
end
