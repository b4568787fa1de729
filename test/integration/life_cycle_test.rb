# frozen_string_literal: true

require_relative "../helpers/server_case"

# Commands that come when nobody expects them: while the application loads, and while the server is about to end.
class LifeCycleTest < ServerCase
  parallelize_me!

  # Answers after the file at `GATE` is there, and says when it was asked.
  WAITING_APP = <<~'RUBY'
    run lambda { |env|
      if env["PATH_INFO"] == "/wait"
        warn "asked"
        sleep 0.01 until File.exist?(ENV.fetch("GATE"))
      end
      [200, {}, [Process.pid.to_s]]
    }
  RUBY

  # Loads until the file at `GATE` is there.
  SLOW_APP = <<~'RUBY'
    warn "loading"
    sleep 0.01 until File.exist?(ENV.fetch("GATE"))
    run ->(_env) { [200, {}, ["loaded"]] }
  RUBY

  # As the plugins of job queues do: a child is forked when the server runs, and ended when it has stopped.
  CHILD = <<~'RUBY'
    on_booted { STDERR.puts "child #{$child = fork { sleep }}" }
    ending = -> { Process.kill(:KILL, $child) && Process.wait($child) }
    on_restart { ending.call }
    on_stopped { ending.call }
  RUBY

  # A program of its own that runs a server, and has a trap of its own for it.
  LAUNCHER = <<~'RUBY'
    require "rserve"
    require "rserve/process/launcher"

    conf = Rserve::Configuration.new do |user|
      user.bind "tcp://127.0.0.1:0"
      user.workers %<workers>d
      user.rackup ENV.fetch("APP")
      user.preload_app!
    end
    launcher = Rserve::Launcher.new(conf, log_writer: Rserve::LogWriter.stdio)
    trap(:ALRM) { launcher.%<command>s }
    launcher.run
  RUBY

  def test_a_child_does_not_keep_the_server_from_ending
    [[], %w[-w 1]].each do |arguments|
      spawn_server(*arguments, "--control-url", "tcp://127.0.0.1:#{UniquePort.call}", config: CHILD)
      assert_log(/child \d+/)
      hot_restart
      server.wait_until("it has another one", 10) { server.log.scan(/child \d+/).size == 2 }
      server.signal(:INT)
      assert_exits 0
    end
  end

  def test_no_restart_begins_once_the_server_stops
    %i[INT TERM].each do |stop|
      spawn_server app: file("app.ru", WAITING_APP), env: { "GATE" => gate }
      client = waiting_client
      server.signal_taken(:USR2)
      server.signal(stop)
      assert_log(/Gracefully stopping/)
      server.signal_taken(:USR2)
      FileUtils.touch(gate)
      assert_equal 200, client.value
      assert_exits(stop == :TERM ? :TERM : 0)
    ensure
      FileUtils.rm_f(gate)
    end
  end

  def test_a_restart_that_comes_while_the_application_loads_follows
    [[], %w[-w 1 --preload], %w[-w 1]].each do |arguments|
      spawn_server(*arguments, app: file("app.ru", SLOW_APP), env: { "GATE" => gate }, wait: false)
      assert_log(arguments == %w[-w 1] ? /Ctrl-C/ : /loading/)
      server.signal(:USR2)
      FileUtils.touch(gate)
      assert_log(/Restarting.*Ctrl-C/m)
      server.wait_until("it answers", 10) { answers? }
    ensure
      FileUtils.rm_f(gate)
    end
  end

  def test_hup_while_the_application_loads_leaves_a_server_with_log_files_alone
    log = File.join(folder, "log")
    spawn_server app: file("app.ru", SLOW_APP), env: { "GATE" => gate }, config: "stdout_redirect #{log.dump}",
                 wait: false
    assert_log(/loading/)
    server.signal_taken(:HUP)
    FileUtils.touch(gate)
    server.wait_until("it answers", 10) { answers? }
  end

  def test_a_restart_that_is_told_to_end_while_it_loads_leaves_nothing_behind
    pidfile = File.join(folder, "pid")
    FileUtils.touch(gate)
    spawn_server "--pidfile", pidfile, app: file("app.ru", SLOW_APP), env: { "GATE" => gate }, unix: true
    FileUtils.rm(gate)
    mark = server.mark
    server.signal(:USR2)
    server.wait_for_log(/loading/, after: mark)
    server.signal(:TERM)
    server.wait_exit
    refute_path_exists pidfile
    refute_path_exists server.path
  end

  # Ruby boots, and nothing of the server is there yet: `ruby -r` by the environment stands for Bundler. By TERM Ruby
  # ends in its own way then, which is the signal in 3.1 and status 1 in 3.3.
  def test_a_restart_that_is_told_to_end_before_anything_is_loaded_leaves_nothing_behind
    slow = file("slow.rb", "warn 'booting'\nsleep 0.01 until File.exist?(ENV.fetch('GATE'))\n")
    env = { "GATE" => gate, "RUBYOPT" => "-r#{slow}", "BUNDLER_ORIG_RUBYOPT" => nil }
    %i[INT TERM].each do |signal|
      [[], %w[-w 1]].each do |mode|
        pidfile = File.join(folder, "pid")
        FileUtils.touch(gate)
        spawn_server("--pidfile", pidfile, *mode, env:)
        FileUtils.rm(gate)
        mark = server.mark
        server.signal(:USR2)
        server.wait_for_log(/booting/, after: mark)
        assert_equal server.pid, Integer(File.read(pidfile))
        server.signal(signal)
        signal == :INT ? assert_exits(130) : server.wait_exit
        refute_path_exists pidfile
        refute_log(/Interrupt/)
      end
    end
  end

  def test_the_pid_file_stays_with_a_restarted_server
    pidfile = File.join(folder, "pid")
    spawn_server "--pidfile", pidfile, app: file("app.ru", "run ->(_) { [200, {}, [ENV['RSERVE_PIDFILE'].inspect]] }")
    2.times { hot_restart }
    assert_serving "nil"
    assert_equal server.pid, Integer(File.read(pidfile))
    server.stop
    refute_path_exists pidfile
  end

  def test_int_in_the_last_moments_of_a_stop_ends_it_without_a_word
    [[], %w[-w 1]].each do |mode|
      pidfile = File.join(folder, "pid")
      config = "pid = $$\nat_exit { (warn 'last'; sleep 0.01 until File.exist?(#{gate.dump})) if pid == $$ }"
      spawn_server("--pidfile", pidfile, *mode, config:)
      server.signal(:INT)
      assert_log(/^last$/)
      server.signal(:INT)
      assert_exits 130
      refute_log(/Interrupt/)
      refute_path_exists pidfile
    end
  end

  def test_commands_may_come_from_a_trap_of_the_application
    app = file("app.ru", SLOW_APP)
    [[0, :stop], [0, :halt], [1, :stop], [1, :halt]].each do |workers, command|
      [true, false].each do |loaded|
        script = file("launcher.rb", format(LAUNCHER, workers:, command:))
        FileUtils.touch(gate) if loaded
        env = { "GATE" => gate, "APP" => app }
        start_process([RbConfig.ruby, "-Ilib", script], env:, chdir: TestServer::ROOT, wait: false)
        assert_log(loaded ? /Ctrl-C/ : /loading/)
        server.signal_taken(:ALRM)
        FileUtils.touch(gate)
        assert_exits 0
        refute_log(/ThreadError/)
      ensure
        FileUtils.rm_f(gate)
      end
    end
  end

  def test_requests_that_hang_are_told
    spawn_server "-t", "2:2", app: "rackup/slow.ru", config: "rserve { stuck_after 0.2 }"
    server.exchange("GET /sleep/5?secret=1 HTTP/1.1\r\nHost: localhost\r\n\r\n") do
      assert_log(/! 1 thread has been in the application for more than 0\.2 s; the oldest request, for \d s: /)
      assert_log(%r{GET /sleep/5$})
    end
    server.signal(:INT)
    server.signal_taken(:INT)
    assert_equal 1, server.log.scan("in the application").size, server.log
  end

  def test_shutdown_debug_says_where_each_thread_is
    spawn_server config: "shutdown_debug"
    get("/")
    server.signal(:INT)
    assert_exits 0
    assert_log(/#{server.pid}: Shutdown initiated$.*Begin thread backtrace.*Thread \d.\d: #<Thread.*tp 00\d.*=== End/m)
  end

  def test_shutdown_debug_on_force_speaks_only_of_threads_that_had_to_be_ended
    spawn_server app: file("app.ru", WAITING_APP), env: { "GATE" => gate },
                 config: "shutdown_debug on_force: true\nforce_shutdown_after 0.5"
    waiting_client
    server.signal(:INT)
    assert_exits 0
    assert_log(/#{server.pid}: Shutdown timeout exceeded$.*Thread \d.\d: #<Thread/m)
    refute_log(/Shutdown (initiated|grace)/)
  end

  def test_field_names_with_underscores_can_be_kept_out
    app = file("app.ru", "run ->(env) { [200, {}, env.keys.grep(/HTTP_X/)] }")
    { "" => "HTTP_X_AUTHHTTP_X_B", "allow_underscore_headers false" => "HTTP_X_B" }.each do |config, seen|
      spawn_server(app:, config:)
      assert_equal seen, request("GET / HTTP/1.1\r\nHost: a\r\nX_Auth: evil\r\nX-B: 1\r\n\r\n").body
    end
  end

  def test_a_file_may_have_any_name
    path = File.join(folder, "l\xE4.txt".b)
    File.write(path, "found")
    app = file("app.ru", <<~RUBY)
      body = Class.new do
        def to_path = #{path.b.dump}.b
        def each = yield("each")
      end
      run ->(_env) { [200, {}, body.new] }
    RUBY
    spawn_server(app:)
    assert_equal "found", get("/").body
  end

  # Ruby may have touched all 8 MiB of it, of which a server needs little.
  def test_memory_of_the_stack_is_given_back
    [[], %w[-w 1]].each do |arguments|
      spawn_server(*arguments)
      assert_serving
      server.wait_until("little of the stack is in memory", 10) { stack_in_memory < 1024 }
    end
  end

  # Eight threads ask for memory.
  ARENAS_APP = <<~'RUBY'
    run lambda { |_env|
      held = Array.new(8) { Thread.new { Array.new(100) { "x" * 500 } } }.map(&:value)
      [200, {}, [held.size.to_s]]
    }
  RUBY

  def test_threads_share_two_arenas_unless_the_operator_wants_more
    app = file("arenas.ru", ARENAS_APP)
    silent = { "MALLOC_ARENA_MAX" => nil, "GLIBC_TUNABLES" => nil }
    { {} => 2, { "MALLOC_ARENA_MAX" => "4" } => 4,
      { "GLIBC_TUNABLES" => "glibc.malloc.arena_max=3" } => 3 }.each do |env, most|
      spawn_server(app:, env: silent.merge(env))
      assert_equal "8", get("/").body
      assert_equal most, arenas, env
    end
  end

  private

  # What malloc uses and what it has in reserve are together 64 MiB, in a place that they divide; the first arena is the
  # program's own heap.
  def arenas
    bounds = /^(\h+)-(\h+) rw-p 0+ 00:00 0 *\n\2-(\h+) ---p 0+ 00:00 0 *$/
    heaps = File.read("/proc/#{server.pid}/maps").scan(bounds).map { |from, _, to| [from.hex, to.hex] }
    1 + heaps.count { |from, to| (from % (64 << 20)).zero? && to - from == 64 << 20 }
  end

  # @return [Integer] KiB
  def stack_in_memory = Integer(File.read("/proc/#{server.pid}/smaps")[/\[stack\]\n.*?^Rss: +(\d+)/m, 1])

  def gate = @gate ||= File.join(folder, "gate")

  # @return [Thread] whose value is the status
  def waiting_client
    client = Thread.new { get("/wait").status }
    assert_log(/asked/)
    client
  end

  def answers?
    get("/", timeout: 5).status == 200
  rescue SystemCallError, EOFError
    false
  end
end
