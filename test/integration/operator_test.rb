# frozen_string_literal: true

require_relative "../helpers/server_case"
require "open3"

# What an operator does to a running server besides sending it requests: control commands, plugins, storms of signals.
class OperatorTest < ServerCase
  parallelize_me!

  def test_signal_ends_a_server_that_still_loads_its_application
    app = file("slow.ru", "$stderr.puts 'loading'\nsleep 60\nrun ->(_) { [200, {}, []] }\n")
    { TERM: :TERM, INT: 130 }.each do |signal, code|
      spawn_server(app:, wait: false)
      assert_log(/^loading/)
      server.signal(signal)
      assert_exits code
      refute_log(/Unable to load application|\.rb:\d+:in/)
    end
  end

  def test_twenty_hot_restarts_in_a_row_lose_nothing
    spawn_server
    answers = Hash.new(0)
    running = true
    clients = Array.new(2) do
      Thread.new { answers[answer] += 1 while running }
    end
    20.times { hot_restart }
    running = false
    clients.each(&:join)

    assert_equal ["Hello World"], answers.keys, answers.inspect
  end

  def test_unix_socket_is_gone_after_the_server_also_when_it_was_restarted
    spawn_server unix: true
    hot_restart
    server.signal(:INT)
    assert_exits 0
    refute_path_exists server.path
  end

  def test_control_server_tells_and_is_obeyed
    port = UniquePort.call
    url = "tcp://127.0.0.1:#{port}"
    spawn_server "--control-url", url, "--control-token", "secret"
    assert_serving

    out, status = control("-C", url, "-T", "secret", "stats")
    assert_predicate status, :success?, out
    stats = JSON.parse(out.lines.last)
    assert_equal %w[started_at backlog running pool_capacity max_threads requests_count busy_threads versions
                    accept_queue accept_queue_limit],
                 stats.keys
    assert_equal 1, stats["requests_count"]

    assert_equal 1, control("-C", url, "-T", "wrong", "stop").last.exitstatus
    assert_serving
    assert_predicate control("-C", url, "-T", "secret", "stop").last, :success?
    assert_exits 0
    assert_equal 1, control("-C", url, "-T", "secret", "status").last.exitstatus
  end

  def test_control_client_finds_the_server_by_its_files
    state = File.join(folder, "server.state")
    pid_file = File.join(folder, "server.pid")
    spawn_server "-S", state, "--pidfile", pid_file

    [["-S", state], ["-P", pid_file], ["-p", server.pid.to_s]].each do |where|
      assert_equal "rserve is started\n", control(*where, "status").first, where.inspect
    end
    mark = server.mark
    assert_predicate control("-P", pid_file, "restart").last, :success?
    server.wait_for_log(/Ctrl-C/, after: mark)
    assert_predicate control("-S", state, "stop").last, :success?
    assert_exits :TERM
  end

  def test_touching_restart_txt_restarts
    spawn_server "--plugin", "tmp_restart", app: file("config.ru", "run ->(_) { [200, {}, ['hi']] }"),
                                            chdir: (place = folder)
    mark = server.mark
    FileUtils.mkdir_p(File.join(place, "tmp"))
    FileUtils.touch(File.join(place, "tmp/restart.txt"))
    server.wait_for_log(/Ctrl-C/, after: mark)
  end

  def test_systemd_hears_what_the_server_does
    Dir.mktmpdir do |place|
      path = File.join(place, "notify")
      listener = Socket.new(:UNIX, :DGRAM)
      listener.bind(Addrinfo.unix(path))
      spawn_server env: { "NOTIFY_SOCKET" => path, "WATCHDOG_USEC" => "200000" }
      # The watchdog is told from then on.
      assert_equal "READY=1", next_message(listener, /READY/)
      assert_equal "WATCHDOG=1", next_message(listener, /WATCHDOG/)
      assert_match(%r{\ASTATUS=rserve .*: worker: \{ \d+/5 threads, 5 available, 0 backlog \}\z},
                   next_message(listener, /STATUS/))
      hot_restart
      assert_equal "RELOADING=1", next_message(listener, /RELOADING/)
      assert_equal "READY=1", next_message(listener, /READY/)
      server.signal(:INT)
      assert_equal "STOPPING=1", next_message(listener, /STOPPING/)
    ensure
      listener&.close
    end
  end

  # It runs during a hot restart, which takes as long as the application takes to load.
  def test_systemds_watchdog_hears_of_a_server_that_loads_its_application
    app = file("slow.ru", "sleep 1.5\nrun ->(_) { [200, {}, []] }\n")
    [[], %w[-w 2], %w[-w 2 --preload]].each do |mode|
      path = File.join(folder, "notify")
      listener = Socket.new(:UNIX, :DGRAM)
      listener.bind(Addrinfo.unix(path))
      spawn_server(*mode, app:, env: { "NOTIFY_SOCKET" => path, "WATCHDOG_USEC" => "400000" })
      next_message(listener, /READY/)
      hot_restart
      next_message(listener, /RELOADING/)
      pings = 0
      pings += 1 until next_message(listener, /READY|WATCHDOG/) == "READY=1"
      assert_operator pings, :>=, 3, mode.to_s
    ensure
      listener&.close
      server.stop
    end
  end

  # It goes on listening, so what one server does to the socket when it stops must not outlive that server.
  def test_sockets_that_systemd_opened_are_served_by_one_server_after_another
    TCPServer.open("127.0.0.1", 0) do |socket|
      [[], %w[-w 1]].each do |arguments|
        start_activated(socket, *arguments)
        assert_serving
        hot_restart
        assert_serving
        server.signal(:INT)
        assert_exits 0
      end
      TCPSocket.open("127.0.0.1", socket.addr[1], connect_timeout: 5).close
    end
  end

  private

  # As systemd: the socket is number 3, and the variables name the process that executes the server.
  def start_activated(socket, *arguments)
    port = socket.addr[1]
    script = 'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@"'
    start_process(["sh", "-c", script, "sh", RbConfig.ruby, "-Ilib", TestServer.rserve, "-C", "-", "-b",
                   "tcp://127.0.0.1:#{port}", *arguments, "test/rackup/hello.ru"], port:, fds: { 3 => socket })
    assert_log(%r{\* Activated tcp://127\.0\.0\.1:#{port}})
    assert_log(/Ctrl-C/)
  end

  def answer
    get("/").body
  rescue SystemCallError, EOFError => e
    e.class.name
  end

  def control(*argv)
    Open3.capture2e(RbConfig.ruby, "-Ilib", File.join(TestServer::ROOT, "gem/exe/rservectl"), *argv)
  end

  def next_message(listener, pattern = //)
    loop do
      flunk "no message that matches #{pattern.inspect}" unless listener.wait_readable(Patience.for(10))
      message = listener.recv(1024)
      return message if message.match?(pattern)
    end
  end
end
