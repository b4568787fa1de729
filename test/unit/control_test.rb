# frozen_string_literal: true

require "tempfile"
require "tmpdir"
require_relative "../helper"
require "rserve/control/server"
require "rserve/control/cli"

class ControlTest < TimedTestCase
  # As much of a launcher as commands need.
  class Launcher
    attr_reader :commands

    def initialize = @commands = []
    def stats = { started_at: "2026-01-01T00:00:00Z", backlog: 0 }
    def phased_restart = false
    def thread_status = yield("Thread: TID-x", ["a.rb:1"])
    %i[stop halt restart].each { |command| define_method(command) { @commands << command } }
  end

  def setup
    @launcher = Launcher.new
    @log = Rserve::LogWriter.strings
    @servers = []
  end

  def teardown
    @servers.each do |server|
      server.stop(true)
      server.binder.close_listeners
    end
  end

  def test_commands_answer_as_pumas_do
    url = serve
    {
      "stats" => [200, '{"started_at":"2026-01-01T00:00:00Z","backlog":0}'],
      "stop" => [200, '{ "status": "ok" }'],
      "halt" => [200, '{ "status": "ok" }'],
      "gc" => [200, '{ "status": "ok" }'],
      "phased-restart" => [404, '{ "error": "phased_restart not available" }'],
      "thread-backtraces" => [200, '[{"name":"Thread: TID-x","backtrace":["a.rb:1"]}]'],
      "nosuch" => [404, "Unsupported action"]
    }.each { |command, answer| assert_equal answer, Rserve::ControlRequest.new(url, nil).get(command), command }
    assert_equal %i[stop halt], @launcher.commands
  end

  def test_token_keeps_others_out
    url = serve(token: "secret")
    { nil => 403, "wrong" => 403, "secret" => 200 }.each do |token, status|
      assert_equal status, Rserve::ControlRequest.new(url, token).get("stats").first, token.inspect
    end
  end

  def test_a_query_that_is_none_has_no_token
    uri = URI(serve(token: "secret"))
    Socket.tcp(uri.host, uri.port) do |socket|
      socket.write("GET /stats?token=\xff%zz HTTP/1.0\r\n\r\n")
      assert_match(%r{\AHTTP/1.0 403 }, socket.read)
    end
    refute_match(/ArgumentError/, @log.stderr.string)
  end

  def test_token_may_be_given_by_position_or_by_name
    [["secret"], [nil, { token: "secret" }]].each do |token, options|
      status = Rserve::App::Status.new(@launcher, token, **options.to_h)
      codes = %w[token=wrong token=secret].map do |query|
        status.call({ "PATH_INFO" => "/stats", "QUERY_STRING" => query }).first
      end
      assert_equal [403, 200], codes
    end
  end

  def test_data_only_refuses_what_changes_anything
    url = serve(data_only: true)

    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("stats").first
    assert_equal [404, 'Command "stop" unavailable'], Rserve::ControlRequest.new(url, nil).get("stop")
    assert_empty @launcher.commands
  end

  def test_client_that_sends_nonsense_or_nothing_does_not_stop_the_server
    url = serve
    host, port = url.delete_prefix("tcp://").split(":")
    TCPSocket.open(host, port) { |socket| socket.write("\0\0\r\n\r\n") }
    TCPSocket.open(host, port, &:close)

    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("stats").first
  end

  # What a client may leave unfinished: nothing sent, half a head.
  UNFINISHED = ["", "GET /stats HTTP/1.0\r\n"].freeze

  def test_clients_that_wait_hold_up_nobody
    url = serve(timeout: 600)
    waiting = Array.new(20) { |index| connect(url).tap { |socket| socket.write(UNFINISHED[index % 2]) } }
    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("stats").first
    assert_empty waiting.select { |socket| socket.wait_readable(0) }, "none of them was closed for it"
    @servers.each { |server| server.stop(true) }
    assert_equal [""], waiting.map(&:read).uniq
  ensure
    waiting&.each(&:close)
  end

  # A fork between accept(2) and the list of what the child is to close.
  def test_a_socket_that_a_child_has_keeps_no_client_waiting
    ours, theirs = UNIXSocket.pair
    copy = ours.dup
    theirs.write("GET /stats HTTP/1.0\r\n\r\n")
    connection = Rserve::ControlConnection.new(ours, ->(_) { [200, {}, ["done"]] }, 5)
    connection.advance
    connection.close
    assert theirs.wait_readable(Patience.for(10))
    assert_match(/done\z/, Timeout.timeout(Patience.for(10)) { theirs.read })
  ensure
    [ours, theirs, copy].each(&:close)
  end

  def test_a_head_has_a_deadline_as_a_whole
    socket = connect(serve(timeout: 0.5))
    octets = "GET /stats HTTP/1.0\r\nX: #{"x" * 10_000}".each_char
    socket.write(octets.next) until socket.wait_readable(0.02)
    assert_empty socket.read
  rescue Errno::EPIPE, Errno::ECONNRESET
    pass # closed, as it should be
  ensure
    socket&.close
  end

  def test_a_response_that_nobody_reads_has_a_deadline
    large = "x" * 30_000_000
    @launcher.define_singleton_method(:stats) { { large: } }
    url = serve(timeout: 0.5)
    deaf = connect(url)
    deaf.write("GET /stats HTTP/1.0\r\n\r\n")
    assert deaf.wait_readable(Patience.for(30)), "its response begins"
    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("gc").first
    assert_raises(Errno::ECONNRESET, Errno::EPIPE) { loop { deaf.write("x") && sleep(0.01) } }
  ensure
    deaf&.close
  end

  def test_a_stop_waits_for_no_response
    large = "x" * 30_000_000
    @launcher.define_singleton_method(:stats) { { large: } }
    deaf = connect(serve(timeout: 600))
    deaf.write("GET /stats HTTP/1.0\r\n\r\n")
    assert deaf.wait_readable(Patience.for(30)), "its response begins"
    @servers.each { |server| server.stop(true) }
    assert_operator deaf.read.bytesize, :<, large.bytesize
  rescue Errno::ECONNRESET
    pass
  ensure
    deaf&.close
  end

  def test_without_descriptors_it_pauses
    tries = Queue.new
    url = serve do |server|
      server.binder.ios.first.define_singleton_method(:accept_nonblock) do |**|
        tries << Process.clock_gettime(Process::CLOCK_MONOTONIC)
        raise Errno::EMFILE
      end
    end
    client = connect(url)
    first, second = Array.new(2) { tries.pop }
    assert_operator second - first, :>, 0.4
    assert_match(/Control server: #<Errno::EMFILE/, @log.stderr.string)
  ensure
    client&.close
  end

  def test_whoever_waits_longest_makes_room
    url = serve(timeout: 600)
    waiting = Array.new(Rserve::ControlServer::MOST_CONNECTIONS + 5) { connect(url) }
    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("stats").first
    assert_equal "", waiting.first.read
    assert_nil waiting.last.wait_readable(0)
  ensure
    waiting&.each(&:close)
  end

  def test_client_prints_what_became_of_the_command
    url = serve(token: "secret")
    {
      ["-C", url, "-T", "secret", "stop"] => [0, "Command stop sent success\n"],
      ["-C", url, "-T", "secret", "stats"] => [0, "Command stats sent success\n{\"started_at\":"],
      ["-C", url, "-T", "wrong", "stop"] => [1, "Unauthorized access to server (wrong auth token)\n"],
      ["-C", url, "-T", "secret", "phased-restart"] => [1, "Command error: { \"error\": "],
      ["-C", url, "-T", "wrong", "status"] => [0, " is started\n"],
      ["-C", url, "-T", "secret", "stats", "--json"] => [0, "{\"started_at\":"],
      ["-C", url, "-T", "secret", "worker-count-up"] => [1, "'worker-count-up' needs the pid: -S, -P or -p\n"],
      ["-C", "tcp://127.0.0.1:#{UniquePort.call}", "status"] => [1, " is not running: Connection refused"],
      ["-S", "nosuch.state", "stop"] => [1, " is not running: State file not found: nosuch.state\n"],
      ["-P", "nosuch.pid", "stop"] => [1, " is not running: Pid file not found: nosuch.pid\n"],
      ["-p", "999999999", "stop"] => [1, " is not running: No pid '999999999' found\n"],
      ["-p", "999999999", "stats"] => [1, " is not running: No pid '999999999' found\n"],
      ["-p", "999999999", "restart"] => [1, " is not running: No pid '999999999' found\n"],
      ["-p", Process.pid.to_s, "stats"] => [1, "'stats' not available via pid only\n"],
      ["-p", Process.pid.to_s, "info"] => [1, "'info' needs SIGINFO, which this system does not have\n"],
      ["stop"] => [1, "Neither pid nor control url available\n"],
      ["nosuch"] => [1, "Invalid command: nosuch\n"],
      [] => [1, "Available commands: gc, gc-stats, generations, halt,"]
    }.each do |argv, (status, text)|
      out = StringIO.new
      assert_equal status, exit_status { Rserve::ControlCLI.new(argv, out, out, env: {}).run }, argv.join(" ")
      assert_includes out.string, text, argv.join(" ")
    end
  end

  def test_help_has_a_line_for_each_command
    out = StringIO.new
    exit_status { Rserve::ControlCLI.new(["--help"], out, out, env: {}) }
    Rserve::ControlCLI::CMD_PATH_SIG_MAP.each_key { |command| assert_match(/^    #{command} +[A-Z]/, out.string) }
  end

  def test_state_file_says_where_the_server_is
    Tempfile.create("state") do |file|
      state = Rserve::StateFile.new
      state.pid = 1
      state.control_url = serve(token: "12 34")
      state.control_auth_token = "12 34"
      state.running_from = "/a b"
      state.save(file.path)
      assert_equal ["---\n", "pid: 1\n", %(control_auth_token: "12 34"\n), %(running_from: "/a b"\n)],
                   File.readlines(file.path).grep_v(/url/)

      out = StringIO.new
      Rserve::ControlCLI.new(["-S", file.path, "status"], out, out, env: {}).run
      assert_includes out.string, "is started"
    end
  end

  def test_files_do_not_follow_a_link
    Dir.mktmpdir do |folder|
      target, link, broken = %w[target link broken].map { |name| File.join(folder, name) }
      File.write(target, "precious")
      [target, File.join(folder, "nowhere")].zip([link, broken]) do |to, from|
        File.symlink(to, from)
        Rserve::OwnFile.write(from, "1")
        assert_equal ["1", false], [File.read(from), File.symlink?(from)]
      end
      assert_equal "precious", File.read(target)
      refute_path_exists File.join(folder, "nowhere")
    end
  end

  def test_a_file_for_which_there_is_no_room_stays_as_it_was
    Dir.mktmpdir do |folder|
      path = File.join(folder, "pid")
      File.write(path, "1")
      File.chmod(0o640, path)
      child = fork do
        Signal.trap("XFSZ", "IGNORE")
        Process.setrlimit(:FSIZE, 0)
        Rserve::OwnFile.write(path, "2")
      rescue Errno::EFBIG
        exit!(3)
      ensure
        exit!(1)
      end
      assert_equal 3, Process.wait2(child).last.exitstatus
      assert_equal [["pid"], "1"], [Dir.children(folder), File.read(path)]
      Rserve::OwnFile.write(path, "2")
      assert_equal [["pid"], "2", 0o640], [Dir.children(folder), File.read(path), File.stat(path).mode & 0o777]
    end
  end

  # What reads it meanwhile sees the old one or the new one.
  def test_a_file_is_written_beside_the_old_one
    Dir.mktmpdir do |folder|
      path = File.join(folder, "state")
      File.write(path, "old text")
      File.open(path) do |old|
        Rserve::OwnFile.write(path, "new")
        assert_equal ["old text", "new"], [old.read, File.read(path)]
      end
    end
  end

  def test_a_file_in_a_folder_that_may_not_be_written_to_is_written_where_it_is
    Dir.mktmpdir do |folder|
      path = File.join(folder, "pid")
      File.write(path, "12345")
      File.chmod(0o666, path)
      File.chmod(0o555, folder)
      child = fork do
        Dir.chdir(folder) # the folders above are this user's
        Process::Sys.setuid(65_534) if Process.uid.zero?
        Rserve::OwnFile.write("pid", "2")
        exit!(0)
      ensure
        exit!(1)
      end
      assert_predicate Process.wait2(child).last, :success?
      assert_equal "2", File.read(path)
    ensure
      File.chmod(0o755, folder)
    end
  end

  def test_a_file_that_is_none_stays_what_it_is
    Rserve::OwnFile.write("/dev/null", "1", 0o600)
    assert File.chardev?("/dev/null")
  end

  def test_a_state_file_of_other_octets_says_nothing
    Dir.mktmpdir do |folder|
      path = File.join(folder, "state")
      File.binwrite(path, "\xff\0: [\npid\xff: 1\npid: 12\n")
      assert_equal 12, Rserve::Control::Target.of_state_file(path).pid
    end
  end

  # kill(2) takes 0 and numbers below for groups of processes. No command but this one, which kills nobody if it fails.
  def test_what_is_no_pid_is_sent_no_signal
    [%w[-p 0], %w[-p -1], ["-p", (2**40).to_s], %W[-P #{written("-1")}], %W[-P #{written("0")}],
     *["0", "-1", "abc", "9" * 20].map { |pid| ["-S", written("---\npid: #{pid}\n")] }].each do |arguments|
      assert_match(/\A'\S+' is no pid\n\z/, failing(*arguments, "status"), arguments.join(" "))
    end
    assert_equal "'5' is no URL\n", failing("-S", written("---\ncontrol_url: 5\n"), "stats")
  end

  def test_a_config_file_with_a_fault_is_a_line
    {
      "nosuch 5" => /\A\S+:1: unknown configuration word `nosuch`\n\z/,
      "raise 'x'" => /\A\S+:1: x \(RuntimeError\)\n\z/,
      "\nthis is (" => /\A\S+:2: syntax error.*\n/
    }.each { |text, line| assert_match(line, failing("-F", written(text), "stats")) }
  end

  def test_state_file_with_a_token_is_its_owners
    Dir.mktmpdir do |folder|
      {
        { token: "secret" } => "600", { token: "none" } => "644", {} => "644",
        { token: "secret", permission: 0o640 } => "640", { token: "secret", before: 0o666 } => "600"
      }.each_with_index do |(options, mode), index|
        path = File.join(folder, index.to_s)
        FileUtils.touch(path) && File.chmod(options[:before], path) if options[:before]
        state = Rserve::StateFile.new
        state.control_auth_token = options[:token]
        state.save(path, options[:permission])
        assert_equal mode, (File.stat(path).mode & 0o777).to_s(8), options.inspect
      end
    end
  end

  private

  def written(text)
    @written ||= []
    @written << Tempfile.create("control").tap { |file| file.write(text) && file.close }
    @written.last.path
  end

  # @return [String] what `rservectl` says before it fails
  def failing(*arguments)
    output = StringIO.new
    error = assert_raises(SystemExit) { Rserve::ControlCLI.new(arguments, output, output).run }
    assert_equal 1, error.status
    output.string
  end

  def connect(url) = TCPSocket.new(*url.delete_prefix("tcp://").split(":"))

  def serve(timeout: 5, **options)
    binder = Rserve::Binder.new(@log)
    binder.parse ["tcp://127.0.0.1:0"]
    status = Rserve::App::Status.new(@launcher, options.delete(:token), **options)
    server = Rserve::ControlServer.new(status, binder, @log, timeout:)
    yield server if block_given?
    server.run
    @servers << server
    "tcp://127.0.0.1:#{binder.connected_ports.first}"
  end

  def exit_status
    yield
    0
  rescue SystemExit => e
    e.status
  end
end
