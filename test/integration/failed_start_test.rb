# frozen_string_literal: true

require "open3"
require_relative "../helpers/bundles"
require_relative "../helpers/server_case"

# What an operator is told of a server that does not start.
class FailedStartTest < ServerCase
  include Bundles

  parallelize_me!

  def test_application_that_fails_is_blamed_on_its_own_line
    app = file("config.ru", "\nrun Integer('none')\n")
    spawn_server "-w", "1", "--preload", app:, wait: false
    assert_log(/! Unable to load application: ArgumentError: .*\n.*!   at #{Regexp.escape(app)}:2:/)
    assert_exits 1
  end

  # The application's own frames, in the order of a backtrace, and none of anybody else's; the process says no more.
  def test_application_that_fails_shows_its_own_frames_and_no_others
    app = file("config.ru", "def helper = raise('no luck')\n\nhelper\n")
    [[], %w[-w 2 --preload]].each do |mode|
      spawn_server(*mode, app:, wait: false)
      assert_exits 1
      text = server.log.gsub(/^\[\d+\] /, "")
      frames = /!   at #{app}:1:.*\n!   at #{app}:3:.*\n/
      assert_match(/^! Unable to load application: RuntimeError: no luck\n#{frames}\z/, text)
    end
  end

  # Not only what `rescue` without a name takes.
  def test_application_that_fails_in_whatever_way_is_told
    {
      "raise Exception, 'no luck'" => ["Exception: no luck", 1],
      "raise NoMemoryError" => ["NoMemoryError: NoMemoryError", 1],
      "throw :done" => ["UncaughtThrowError: uncaught throw :done", 1],
      "exit 3" => ["it ends the process, exit 3", 3],
      "Thread.current.kill" => ["it ends the process, exit 0", 0],
      "def again = again; again" => ["SystemStackError: stack level too deep", 1]
    }.each do |code, (reason, status)|
      app = file("config.ru", "#{code}\nrun ->(_env) { [200, {}, []] }\n")
      [[], %w[-w 1 --preload]].each do |mode|
        spawn_server(*mode, app:, wait: false)
        assert_exits status
        text = server.log.gsub(/^\[\d+\] /, "")
        assert_match(/^! Unable to load application: #{reason}\n(!   at .*\n)+\z/, text)
        assert_operator text.lines.size, :<, 75
      end
      spawn_server("--check", app:, wait: false)
      assert_exits 1
      assert_match(/\Arserve: Unable to load application: #{app}:1: #{reason[/(?:.*: )?(.+)/, 1]}.*\n\z/, server.log)
    end
  end

  def test_application_that_closes_the_standard_streams_is_served
    app = file("config.ru", "$stdout.close\n$stderr.close\nrun ->(_env) { [200, {}, ['quiet']] }\n")
    spawn_server(app:, wait: false)
    server.wait_until("it answers", 10) do
      get("/").body == "quiet"
    rescue SystemCallError
      false
    end
  end

  def test_application_that_fails_in_workers_is_told_once
    app = file("config.ru", "def helper = raise('no luck')\n\nhelper\n")
    spawn_server("-w", "2", app:)
    server.wait_until("each worker was tried again", 20) { server.log.scan("died before it had booted").size >= 4 }
    text = server.log.gsub(/^\[\d+\] /, "")
    assert_match(/^! Unable to start worker\nRuntimeError: no luck\n  at #{app}:1:.*\n  at #{app}:3:/, text)
    assert_equal 1, text.scan("no luck").size, text
    refute_match(%r{lib/rserve/}, text)
  end

  def test_pid_file_of_a_server_that_lives_is_left_alone
    pid_file = File.join(folder, "server.pid")
    spawn_server "--pidfile", pid_file
    first = server
    2.times do
      spawn_server "--pidfile", pid_file, wait: false
      assert_exits 1
      line = /\Arserve: pidfile #{pid_file}: pid #{first.pid}: rserve .* is running\. Stop it, or remove the file/
      assert_match line, server.log
      assert_equal 1, server.log.lines.size
    end
    assert_equal first.pid, Integer(File.read(pid_file))
    hot = first.mark
    first.signal(:USR2)
    first.wait_for_log(/Ctrl-C/, after: hot)
    first.stop
    refute_path_exists pid_file
  end

  # A number that somebody else has got since: the process is younger than the file.
  def test_pid_file_that_is_left_over_is_written_anew
    pid_file = file("server.pid", "")
    spawn_server unix: true
    File.write(pid_file, server.pid)
    File.utime(Time.now - 60, Time.now - 60, pid_file)
    spawn_server "--pidfile", pid_file
    assert_equal server.pid, Integer(File.read(pid_file))
    server.stop
    File.write(pid_file, 2**22)
    spawn_server "--pidfile", pid_file
    assert_equal server.pid, Integer(File.read(pid_file))
  end

  def test_pid_file_that_another_server_has_taken_over_is_not_removed
    pid_file = File.join(folder, "server.pid")
    spawn_server "--pidfile", pid_file
    File.write(pid_file, Process.pid)
    server.stop
    assert_equal Process.pid, Integer(File.read(pid_file))
  end

  # Each is said by a start before anything was loaded, and by `--check`.
  def test_files_that_cannot_be_written_are_told_in_one_line
    place = folder
    plain = file("plain", "")
    broken = file("never_loaded.ru", "raise 'loaded'")
    [
      [%W[--pidfile #{place}/no/pid], "pidfile #{place}/no/pid: there is no folder #{place}/no (mkdir -p #{place}/no)"],
      [%W[--state #{plain}/state], "state_path #{plain}/state: #{plain} is no folder"],
      [%W[--state #{place}], "state_path #{place}: is a folder"],
      [%W[--redirect-stdout #{place}/no/log], "Cannot redirect STDOUT to #{place}/no/log: there is no folder"],
      [%W[--redirect-stderr #{plain}/log], "Cannot redirect STDERR to #{plain}/log: #{plain} is no folder"]
    ].each { |arguments, reason| assert_told(/\Arserve: #{Regexp.escape(reason)}.*\n\z/, *arguments, app: broken) }
  end

  def test_what_is_no_path_and_what_the_file_raises_is_told_in_one_line
    {
      'pidfile "a\\0b"' => "pidfile a\0b: is no path",
      "stdout_redirect 5" => "Cannot redirect STDOUT to 5: is no path",
      "state_path :x; state_permission 'x'" => "CONFIG:1: invalid value for Integer(): \"x\" (ArgumentError)",
      "state_permission 0o10000" => "CONFIG:1: state_permission must be from 0 to 4095, not 4096 (ArgumentError)",
      'tag "a\\0b"' => "CONFIG:1: tag must have no octet of zero (ArgumentError)",
      "raise Exception, 'no luck'" => "CONFIG:1: no luck (Exception)",
      "raise NoMemoryError" => "CONFIG:1: NoMemoryError (NoMemoryError)",
      "def again = again; again" => "CONFIG:1: stack level too deep (SystemStackError)"
    }.each do |config, line|
      assert_told(/\Arserve: #{Regexp.escape(line).sub("CONFIG", ".*config\\.rb")}\n\z/, config:)
    end
  end

  def test_full_disk_is_told_in_one_line
    { "--pidfile" => "pidfile", "--state" => "state_path" }.each do |option, name|
      [[], %w[-w 1]].each do |mode|
        spawn_server(option, "/dev/full", *mode, wait: false)
        assert_exits 1
        assert_match(%r{^rserve: #{name} /dev/full: No space left on device\n\z}, server.log)
      end
    end
  end

  # A server that serves goes on, with a line for each.
  def test_own_files_that_cannot_be_written_end_no_restart
    [[], %w[-w 1], %w[-w 1 --preload --overlap]].each do |mode|
      place = folder
      overlap = mode.delete("--overlap") && "rserve { overlap_restart }"
      config = <<~RUBY
        #{overlap}
        full = File.exist?("#{place}/restarts")
        pidfile full ? "/dev/full" : "#{place}/pid"
        state_path full ? "#{place}/no/state" : "#{place}/state"
        stdout_redirect "#{place}/no/log" if full
      RUBY
      spawn_server(*mode, config:)
      FileUtils.touch("#{place}/restarts")
      hot_restart
      missing = "No such file or directory"
      ["pidfile /dev/full: No space left on device", "state_path #{place}/no/state: #{missing}",
       "Cannot redirect STDOUT to #{place}/no/log: #{missing}"].each do |line|
        assert_log(/! #{line}\n/)
        assert_equal 1, server.log.scan(line).size
      end
      assert_serving
      assert server.stop
    end
  end

  def test_folder_of_somebody_else_is_told
    skip "root may write everywhere" if Process.uid.zero?
    place = folder
    File.chmod(0o500, place)
    assert_told(/\Arserve: pidfile .*: the folder #{place} may not be written to\n\z/, "--pidfile", "#{place}/pid")
  end

  def test_wrong_scheme_is_told_with_its_place
    assert_told(%r{\Arserve: \S+/config\.rb:2: Invalid URI: http://127\.0\.0\.1:1 \(tcp://HOST:PORT, .*\)\n\z},
                config: "threads 1, 2\nbind 'http://127.0.0.1:1'\n")
    assert_told(%r{\Arserve: \S+/config\.rb:2: Invalid URI: ftp://127\.0\.0\.1:1 \(tcp://HOST:PORT, .*\)\n\z},
                config: "threads 1, 2\nactivate_control_app 'ftp://127.0.0.1:1', { no_token: true }\n")
    assert_told(/\Arserve: Invalid URI: http:.* can be bound\)\n\z/, "-b", "http://127.0.0.1:1")
    assert_told(/\Arserve: \S+:1: Invalid URI: unix:\S+a\\u0000b .* can be bound\)\n\z/,
                config: 'bind "unix:///tmp/a\0b"')
    assert_told(/\Arserve: \S+:1: Invalid URI: tcp:\S+:1\\n .* can be bound\)\n\z/,
                config: 'bind "tcp://127.0.0.1:1\n"')
    assert_told(%r{^rserve: Cannot listen on unix:///tmp/a: .* too big .*\n\z},
                "-b", "unix:///tmp/a?umask=#{"7" * 30}")
  end

  def test_missing_application_is_told_in_the_same_way
    assert_told(/^rserve: [Nn]o application.*nosuch\.ru\n\z/, app: "nosuch.ru")
  end

  def test_start_by_the_control_client_is_told_as_any_other
    spawn_server
    config = file("puma.rb", "bind 'tcp://127.0.0.1:#{server.port}'\napp { [200, {}, []] }\n")
    output, status = Open3.capture2e(RbConfig.ruby, "-Ilib", TestServer.rservectl, "-F", config, "start",
                                     chdir: TestServer::ROOT)
    assert_equal 1, status.exitstatus, output
    assert_match(/^rserve: Address already in use.*\(pid #{server.pid}: rserve .*\)\n\z/, output)
    refute_match(/\.rb:\d+:in/, output)
  end

  def test_descriptors_of_systemd_that_are_no_listeners_are_told
    { "exec 3<&-" => 9999, "exec 3</dev/null" => 1 }.each do |before, count|
      script = "#{before}; exec env LISTEN_PID=$$ LISTEN_FDS=#{count} \"$@\""
      command = [RbConfig.ruby, "-Ilib", TestServer.rserve, "-C", "-", "test/rackup/hello.ru"]
      start_process(["sh", "-c", script, "-", *command], wait: false, chdir: TestServer::ROOT)
      assert_exits 1
      assert_match(/\Arserve: LISTEN_FDS is #{count}, but descriptor 3 is no listening socket.*\n\z/, server.log)
    end
  end

  def test_folder_that_is_gone_is_told
    place = folder
    [[], %w[-w 2], %W[--dir #{TestServer::ROOT}]].each do |arguments|
      script = "cd #{place}/gone && rmdir ../gone && exec \"$@\""
      Dir.mkdir("#{place}/gone")
      command = [RbConfig.ruby, "-I#{TestServer::ROOT}/lib", TestServer.rserve, "-C", "-", *arguments]
      start_process(["sh", "-c", script, "-", *command, File.join(TestServer::ROOT, "test/rackup/hello.ru")],
                    wait: false, chdir: place, env: unbundled)
      assert_exits 1
      line = "the folder in which this is started is gone: cd #{place}/gone, or to another one"
      assert_equal "rserve: #{line}\n", server.log
    end
  end

  def test_too_few_descriptors_are_told
    [[], %w[-w 2], %w[-w 2 --preload], %w[--check]].each do |mode|
      [10, 16, 31].each do |limit|
        command = [RbConfig.ruby, "-Ilib", TestServer.rserve, "-C", "-", *mode, "test/rackup/hello.ru"]
        script = "ulimit -n #{limit}; exec \"$@\""
        start_process(["sh", "-c", script, "-", *command], wait: false, chdir: TestServer::ROOT)
        assert_exits 1
        assert_match(/\Arserve: #{limit} descriptors are too few to serve \(ulimit -n, .* 32 at least\n\z/, server.log)
      end
    end
  end

  # Variables by which an earlier program of the same process tells what it has left.
  def test_variables_of_a_restart_that_was_none_are_told
    url = "tcp://127.0.0.1:0"
    {
      "PUMA_INHERIT_0" => ["", "junk", "5:", "0:#{url}", "9999:#{url}", "#{"9" * 20}:#{url}"],
      "RSERVE_OPERATOR" => ["junk", "1", "9999:1", "#{"9" * 20}:1"],
      "RSERVE_KEEPER" => ["junk", "1", "1 x 1 serve -1", "1 #{"9" * 20} 1 serve -1"]
    }.each do |name, values|
      values.each do |value|
        line = "#{name} is #{value.inspect}, and no earlier program of this server has left that: unset #{name}"
        spawn_server("-w", "1", env: { name => value }, wait: false)
        assert_exits 1
        assert_equal "rserve: #{line}\n", server.log
      end
    end
    spawn_server env: { "RSERVE_TICKETS" => "9" * 20 }
    assert_serving
  end

  def test_messages_to_nowhere_are_no_reason_to_end
    spawn_server env: { "NOTIFY_SOCKET" => "/#{"x" * 300}" }
    assert_serving
    assert server.stop
    refute_log(/WARNING hook|Error/)
    assert_equal 0, server.status.exitstatus
  end

  def test_taken_unix_socket_says_by_whom
    spawn_server unix: true
    taken = server
    spawn_server "-b", "unix://#{taken.path}", listen: false, wait: false
    assert_log(/There is already a server bound to: #{taken.path} \(pid #{taken.pid}: rserve /)
    assert_exits 1
  end

  # The library of another Ruby, or one that the loader does not take.
  def test_native_library_that_does_not_fit_is_told_with_the_remedy
    copy = folder
    %w[lib gem/exe].each do |part|
      FileUtils.mkdir_p(File.dirname(File.join(copy, part)))
      FileUtils.cp_r(File.join(TestServer::ROOT, part), File.join(copy, part))
    end
    abi = RbConfig::CONFIG.fetch("ruby_version")
    library = File.join(copy, "lib/rserve", abi, "rserve.so")
    File.truncate(library, 100)
    assert_match(/\Arserve: rserve's native library for Ruby #{abi} does not load: .+ && rake compile\n\z/, start(copy))
    File.rename(File.dirname(library), File.join(copy, "lib/rserve/2.0.0"))
    assert_match(/\Arserve: .+ is missing \(there is one for .*2\.0\.0.*\)\. To build it: .+ && rake compile\n\z/,
                 start(copy))
  end

  private

  # By a start and by a check.
  def assert_told(line, *arguments, app: "test/rackup/hello.ru", config: nil)
    [[], %w[--check], %w[-w 2]].each do |mode|
      spawn_server("-b", "tcp://127.0.0.1:0", *arguments, *mode, app:, config:, listen: false, wait: false)
      assert_exits 1
      assert_match(line, server.log)
    end
  end

  def start(root)
    output, status = Open3.capture2e(unbundled, RbConfig.ruby, File.join(root, "gem/exe/rserve"), "-V", chdir: root)
    assert_equal 1, status.exitstatus, output
    output
  end
end
