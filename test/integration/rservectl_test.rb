# frozen_string_literal: true

require "open3"
require_relative "../helpers/server_case"

# What a person, a script or a container's health check reads from rservectl: lines and exit status.
class RservectlTest < ServerCase
  parallelize_me!

  # What the client may load of Ruby's library: Ruby's start-up alone takes most of 0.1 s of processor time.
  EXPENSIVE = %w[bundler date json/add net openssl psych rserve.rb rserve/config/configuration rserve/dsl
                 rserve/puma/const set tempfile time timeout uri].freeze

  def setup
    super
    skip "it is rservectl that is tested" if TestServer::PUMA
  end

  def test_status_loads_little
    spawn_controlled
    script = "at_exit { warn $LOADED_FEATURES }; load #{TestServer.rservectl.dump}"
    output, error, status = Open3.capture3(RbConfig.ruby, "-Ilib", "-e", script, "--", "-S", @state, "status",
                                           chdir: TestServer::ROOT)
    assert_predicate status, :success?, output
    assert_match(/\Arserve is started\nsingle mode, up/, output)
    loaded = error.lines(chomp: true).grep_v(/rubygems|bundler_vendored/)
    refute_empty loaded.grep(%r{/rserve/control/cli\.rb\z})
    heavy = loaded.grep(/(?:\.so|\.rb)\z/).select { |path| EXPENSIVE.any? { |name| path.match?(%r{/#{name}(\.rb|/)}) } }
    assert_empty heavy
    assert_empty loaded.grep(%r{/rserve/\d})
  end

  def test_a_suspended_server_is_told_and_waited_for_no_longer_than_asked
    spawn_controlled
    server.suspend
    [["-C", @url, "-T", "secret"], ["-S", @state]].each do |target|
      assert_equal [1, "rserve does not answer: no answer in 0.5 s\n"],
                   rservectl("--timeout", "0.5", *target, "status")
    end
    assert_equal [1, "rserve is suspended: kill -CONT #{server.pid}\n"], rservectl("-p", server.pid, "status")
    assert_equal 1, rservectl("--timeout", "0.5", "-S", @state, "stop").first
  ensure
    server.signal(:CONT)
  end

  # As above, with so many clients waiting that the kernel takes no more.
  def test_a_socket_that_nobody_accepts_from
    path = File.join(folder, "deaf.sock")
    deaf = Socket.new(:UNIX, :STREAM)
    deaf.bind(Addrinfo.unix(path))
    deaf.listen(1)
    waiting = Array.new(2) { UNIXSocket.new(path) }
    assert_equal [1, "rserve does not answer: no answer in 0.3 s\n"],
                 rservectl("--timeout", "0.3", "-C", "unix://#{path}", "status")
  ensure
    [deaf, *waiting].each(&:close)
  end

  def test_status_of_a_cluster_without_a_booted_worker
    go = File.join(folder, "go")
    app = file("slow.ru", "sleep 0.01 until File.exist?(#{go.dump})\nrun ->(_) { [200, {}, ['']] }")
    spawn_controlled("-w", "2", app:)
    code, output = rservectl("-S", @state, "status")
    assert_equal 1, code, output
    assert_match(/\Arserve is started\ncluster of 2 workers, 0 of them booted.*\nno worker is booted\n\z/m, output)
    FileUtils.touch(go)
    2.times { |index| assert_log(/Worker #{index} .* booted/) }
    assert_equal 0, rservectl("-S", @state, "status").first
  end

  [[], %w[-w 1]].each do |mode|
    define_method("test_status_of_a_server_whose_threads_are_all_busy_#{mode.join}") do
      go = File.join(folder, "go")
      app = file("slow.ru", "run ->(_) { sleep 0.01 until File.exist?(#{go.dump}); [200, {}, ['']] }")
      spawn_controlled(*mode, "-t", "1:1", app:, config: "worker_check_interval 1\n")
      assert_log(/Worker 0 .* booted/) if mode.any?
      assert_equal 0, rservectl("-S", @state, "status", "--check", "0.6").first
      clients = Array.new(3) { server.connect.tap { |socket| socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n") } }
      server.wait_until("requests wait", 20) { rservectl("-S", @state, "status").last.match?(/[12] requests? waiting/) }
      assert_equal 0, rservectl("-S", @state, "status").first, "for how long is not asked"
      code, output = rservectl("-S", @state, "status", "--check", "0.6")
      assert_equal [1, "all threads busy and requests waiting for 0.6 s\n"], [code, output.lines.last]
      FileUtils.touch(go)
      clients.each { |socket| ResponseReader.new(socket).receive }
      assert_equal 0, rservectl("-S", @state, "status", "--check", "30").first, "as soon as a thread is free"
    ensure
      clients&.each(&:close)
    end
  end

  def test_workers_are_not_counted_where_there_are_none
    spawn_controlled
    %w[worker-count-up worker-count-down].product([["-S", @state], ["-p", server.pid]]).each do |command, target|
      assert_equal [1, "'#{command}' refused: the server has no workers (single mode)\n"], rservectl(*target, command)
    end
    assert_serving
    spawn_controlled("-w", "1")
    assert_log(/Worker 0 .* booted/)
    assert_equal 0, rservectl("-S", @state, "worker-count-up").first
    assert_log(/Worker 1 .* booted/)
  end

  def test_logs_are_not_opened_anew_where_there_are_none
    [[], %w[-w 1]].each do |mode|
      spawn_controlled(*mode)
      code, output = rservectl("-S", @state, "reopen-log")
      assert_equal 1, code
      assert_match(/\A'reopen-log' refused: nothing is redirected to a file, and the signal would stop/, output)
      assert_serving
    end
  end

  # By the pid alone: a container's or systemd's server writes to a pipe or a socket.
  def test_logs_that_are_a_pipe
    reader, writer = IO.pipe
    port = UniquePort.call
    start_process([RbConfig.ruby, "-Ilib", TestServer.rserve, "-C", "-", "-b", "tcp://127.0.0.1:#{port}",
                   "test/rackup/hello.ru"], port:, chdir: TestServer::ROOT, out: writer, wait: false)
    until reader.gets.include?("Ctrl-C") do end
    assert_match(/refused/, rservectl("-p", server.pid, "reopen-log").last)
    assert_serving
  ensure
    [reader, writer].each(&:close)
  end

  def test_logs_are_opened_anew
    [[], %w[-w 1]].each do |mode|
      log = File.join(folder, "log")
      spawn_controlled(*mode, "--redirect-stdout", log, "--redirect-append", wait: false)
      wait_for(log, /startup/)
      [["-S", @state], ["-p", server.pid]].each do |target|
        File.rename(log, "#{log}.1")
        assert_equal [0, "Command reopen-log sent success\n"], rservectl(*target, "reopen-log")
        wait_for(log, /startup/)
      end
      server.stop
    end
  end

  def test_json_alone
    spawn_controlled
    %w[stats gc-stats thread-backtraces].each do |command|
      code, output = rservectl("-S", @state, command, "--json")
      assert_equal 0, code
      refute_empty JSON.parse(output)
    end
  end

  # The configuration in the folder belongs to another server, which must not be touched.
  def test_flags_win_over_the_configuration_in_the_folder
    spawn_controlled
    mine = server
    mine_state = @state
    mine_url = @url
    spawn_controlled
    place = folder
    FileUtils.mkdir(File.join(place, "config"))
    File.write(File.join(place, "config/puma.rb"), <<~RUBY)
      state_path #{@state.dump}
      activate_control_app #{@url.dump}, { auth_token: "secret" }
    RUBY
    port = mine.port
    answers = [["-C", mine_url, "-T", "secret"], ["-C", mine_url], ["-S", mine_state]]
    mine.get("/")
    answers.each do |flags|
      assert_equal 1, JSON.parse(rservectl(*flags, "stats", "--json", chdir: place).last)["requests_count"],
                   flags.join(" ")
    end
    assert_equal 0, JSON.parse(rservectl("stats", "--json", chdir: place).last)["requests_count"]
    assert_equal [1, "'stats' not available via pid only\n"], rservectl("-p", mine.pid, "stats", chdir: place)
    assert_equal 0, JSON.parse(rservectl("-p", server.pid, "stats", "--json", chdir: place).last)["requests_count"]
    assert_equal [1, "'reopen-log' refused: nothing is redirected to a file, and the signal would stop the server\n"],
                 rservectl("-C", mine_url, "reopen-log", chdir: place)
    assert_equal [0, "Command stop sent success\n"], rservectl("-p", mine.pid, "stop", chdir: place)
    assert_equal Signal.list["TERM"], mine.wait_exit.termsig
    assert_serving
    refute_equal port, server.port
  end

  def test_nothing_is_started_that_nobody_asked_for
    gone = Process.spawn("true").tap { |pid| Process.wait(pid) }
    RservectlTest.commands.each do |command|
      next if %w[start info].include?(command)

      assert_equal [1, "rserve is not running: No pid '#{gone}' found\n"], rservectl("-F", "-", "-p", gone, command),
                   command
    end
  end

  def test_phased_restart_in_single_mode_is_a_hot_one_and_no_failure
    spawn_controlled
    mark = server.mark
    assert_equal [0, "Command phased-restart sent success\n"], rservectl("-S", @state, "phased-restart")
    server.wait_for_log(/restarting normally.*Ctrl-C/m, after: mark)
    assert_serving
  end

  def test_help_of_each_command
    RservectlTest.commands.each_with_index do |command, index|
      code, output = rservectl(*[command, "--help"].rotate(index))
      assert_equal 0, code, output
      assert_match(/\AUsage: rservectl .*#{command}\n\n[A-Z].*^(By its control server|Starts)/m, output)
    end
  end

  def self.commands = Rserve::ControlCLI::CMD_PATH_SIG_MAP.keys

  private

  def spawn_controlled(*arguments, **options)
    @url = "tcp://127.0.0.1:#{UniquePort.call}"
    @state = File.join(folder, "state")
    spawn_server("-S", @state, "--control-url", @url, "--control-token", "secret", *arguments, **options)
  end

  def wait_for(path, pattern)
    server.wait_until("#{path} matches #{pattern.inspect}", 20) { File.exist?(path) && File.read(path).match?(pattern) }
  end

  # @return [Array(Integer, String)] exit status and what was printed
  def rservectl(*arguments, chdir: folder)
    output, status = Open3.capture2e(RbConfig.ruby, "-I#{TestServer::ROOT}/lib", TestServer.rservectl,
                                     *arguments.map(&:to_s), chdir:)
    [status.exitstatus, output]
  end
end
