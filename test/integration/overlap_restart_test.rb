# frozen_string_literal: true

require "json"
require "open3"
require_relative "../helpers/bundles"
require_relative "../helpers/certificates"
require_relative "../helpers/client_load"
require_relative "../helpers/server_case"

# `overlap_restart`: the next generation proves itself before the last one goes.
class OverlapRestartTest < ServerCase
  include Bundles

  parallelize_me!

  TOKEN = "t"
  PROGRAM = [RbConfig.ruby, "-I#{TestServer::ROOT}/lib", TestServer.rserve].freeze
  APP = 'run ->(env) { [200, {}, ["%s"]] }'
  # How a deployment may be broken: config.ru × the line that says so.
  BROKEN = {
    "syntax" => ["run ->(env) {", /config\.ru:1: syntax error|config\.ru:\d+:.*syntax/i],
    "missing_gem" => ["require 'no_such_gem'\n#{APP}", /config\.ru:1: cannot load such file -- no_such_gem/],
    "raise" => ["\nraise 'no database'\n#{APP}", /config\.ru:2: no database \(RuntimeError\)/],
    "exit" => ["exit 3\n", /at boot: .*exit \(SystemExit\)/],
    "not_ready" => ["run ->(env) { [503, {}, []] }", %r{before it was ready: status 503 for /up}],
    "crash" => ["#{APP}\nThread.new { sleep 0.3; exit! 5 }", /as soon as it was ready: .*exit 5/]
  }.freeze

  def setup
    super
    @root = folder
    deploy(format(APP, "one"))
  end

  # ---- a restart ------------------------------------------------------------------------------------------------

  def test_a_restart_under_load_loses_no_request
    serve
    load = ClientLoad.new(server, keep_alive: 4, fresh: 4)
    2.times do |time|
      deploy(format(APP, "new #{time}"))
      assert_restarts
      assert_serving "new #{time}"
    end
    deploy("raise 'broken'")
    assert_equal 1, control("restart", "--wait").last
    assert_serving "new 1"
    counts = load.stop
    assert_equal ["answered"], counts.keys, counts.inspect
    assert_leaves_nothing
  end

  def test_a_generation_that_takes_no_connections_yet_is_not_idle
    serve "idle_timeout 3\nrserve { restart_settle 5 }"
    load = ClientLoad.new(server, fresh: 1, pause: 0.05)
    assert_restarts
    assert_equal ["answered"], load.stop.keys
    assert_log(/All workers reached idle timeout/)
    assert_exits 0
  end

  def test_hooks_run_once_each_and_in_order
    serve <<~'RUBY'
      { before_restart: :on_restart, booted: :on_booted, stopped: :on_stopped }.each do |name, word|
        send(word) { $stdout.write("hook #{name} in #{Process.pid}, child of #{Process.ppid}\n") }
      end
    RUBY
    first = server.wait_for_log(/hook booted in (\d+)/)[1]
    server.signal(:USR2)
    assert_log(/hook stopped(?m:.*)hook booted|hook booted(?m:.*)hook booted(?m:.*)hook stopped/)
    second = generations.last["pid"].to_s
    server.signal(:TERM)
    assert_exits :TERM
    hooks = server.log.scan(/^hook (\w+) in (\d+), child of #{server.pid}/)
    # The first one's last request may be answered before or after the second one's hooks run.
    assert_equal [["booted", first], ["before_restart", first], ["booted", second], ["stopped", second]],
                 hooks - [["stopped", first]]
    assert_equal 5, hooks.size, hooks.inspect
    assert_operator hooks.index(["before_restart", first]), :<, hooks.index(["stopped", first])
  end

  def test_ways_of_asking
    serve "plugin :tmp_restart"
    FileUtils.mkdir_p("#{@root}/tmp")
    ways = {
      "USR1" => -> { server.signal(:USR1) }, "phased-restart" => -> { control("phased-restart") },
      "touch" => -> { FileUtils.touch("#{@root}/tmp/restart.txt") }, "restart" => -> { control("restart") }
    }
    ways.each_with_index do |(_way, ask), index|
      mark = server.mark
      ask.call
      assert server.wait_for_log(/Generation #{index + 2} serves/, after: mark)
    end
  end

  BROKEN.each do |kind, (app, reason)|
    define_method(:"test_a_deployment_that_is_broken_by_#{kind}_is_taken_back") do
      ready = "restart_ready path: '/up', timeout: 3, interval: 0.2"
      serve("rserve { #{kind == "crash" ? "restart_settle 5" : ready} }")
      deploy(app)
      text, status = control("restart", "--wait")
      assert_equal 1, status, text
      assert_match(/! Generation 2 failed .*#{reason}.*; generation 1 serves on$/, text)
      assert_log(/! Generation 2 failed .*#{reason}/)
      assert_serving "one"
      assert_equal 1, generations.size
    end
  end

  def test_a_deployment_that_hangs_at_boot_is_taken_back
    serve "worker_boot_timeout 6"
    deploy("\nsleep\n")
    text, status = control("restart", "--wait")
    assert_equal 1, status
    assert_match(/Generation 2 failed at boot: not booted within 6s \(worker_boot_timeout\), at: .*config\.ru:2;/, text)
    assert_serving "one"
  end

  def test_a_configuration_that_is_broken_is_taken_back
    serve
    File.write("#{@root}/config/puma.rb", "workers 2\nno_such_word 1\n")
    text, status = control("restart", "--wait")
    assert_equal 1, status
    assert_match(/Generation 2 failed at boot: .*puma\.rb:2: .*no_such_word/, text)
    assert_serving "one"
  end

  # ---- what a deployment may change -----------------------------------------------------------------------------

  def test_workers_and_threads_and_listeners_are_those_of_the_new_configuration
    other = UniquePort.call
    path = File.join(@root, "added.sock")
    serve "threads 1, 1", listen: ["tcp://127.0.0.1:#{other}"]
    assert_equal "one", get_from(other)
    configure("threads 2, 2\nworkers 3", listen: ["unix://#{path}"])
    assert_restarts
    server.wait_until("there are three workers", 20) { figures["worker_status"].count { |it| it["booted"] } == 3 }
    assert_equal([2] * 3, figures["worker_status"].map { |it| it["last_status"]["max_threads"] })
    assert File.socket?(path)
    assert_raises(Errno::ECONNREFUSED) { get_from(other) }
    configure("", listen: [])
    assert_restarts
    server.wait_until("it is removed", 10) { !File.exist?(path) }
  end

  def test_a_listener_that_is_wanted_by_a_failed_deployment_is_closed_again
    path = File.join(@root, "added.sock")
    serve
    configure("", listen: ["unix://#{path}"])
    deploy("raise 'no'")
    assert_equal 1, control("restart", "--wait").last
    server.wait_until("it is removed", 10) { !File.exist?(path) }
  end

  def test_localhost_is_handed_over
    serve "", listen: ["tcp://localhost:#{port = UniquePort.call}"]
    assert_restarts
    assert_equal "one", get_from(port, "localhost")
  end

  def test_certificates_are_those_of_the_new_configuration
    certificates = Certificates.new(@root)
    port = UniquePort.call
    url = ->(name) { certificates.issue(name).then { |cert, key| "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}" } }
    serve "", listen: [url.call("first")]
    configure("", listen: [url.call("second")])
    assert_restarts
    assert_match(/second/, subject_at(port))
  end

  def test_gems_are_those_of_the_new_lock_file
    versions = %w[1.0 2.0].to_h { |version| [version, write_gem(version)] }
    deploy('require "greeting"; run ->(_) { [200, {}, [GREETING, " ", Gem.loaded_specs["greeting"].version.to_s]] }')
    env = lock("gem 'greeting', path: #{versions["1.0"].dump}")
    serve "", env:, program: [RbConfig.ruby, "-S", "bundle", "exec", "rserve"]
    assert_serving "hello from 1.0 1.0"
    lock("gem 'greeting', path: #{versions["2.0"].dump}")
    assert_restarts
    assert_serving "hello from 2.0 2.0"
    File.write("#{@root}/Gemfile", "gem 'no_such_gem_anywhere'\n", mode: "a")
    text, status = control("restart", "--wait")
    assert_equal 1, status
    assert_match(/Generation 3 failed at boot: .*; generation 2 serves on/, text)
    assert_serving "hello from 2.0 2.0"
  end

  def test_the_symbolic_link_of_the_current_release_is_followed
    releases = %w[a b].map { |name| File.join(folder, name).tap { |path| FileUtils.mkdir_p(path) } }
    releases.each { |path| File.write("#{path}/config.ru", format(APP, File.basename(path))) }
    current = File.join(folder, "current")
    File.symlink(releases.first, current)
    serve "", directory: current
    assert_serving "a"
    File.unlink(current)
    File.symlink(releases.last, current)
    assert_restarts
    FileUtils.rm_rf(releases.first)
    assert_serving "b"
    server.signal(:USR2)
    assert_log(/Generation 3 serves/)
    assert_serving "b"
  end

  # ---- ends -----------------------------------------------------------------------------------------------------

  def test_a_master_that_is_killed_is_replaced_and_the_listener_never_closes
    serve
    Process.kill(:KILL, generations.first["pid"])
    assert_log(/! Generation 1 \(PID: \d+\) died: SIGKILL/)
    assert_serves_again "one"
    assert_equal([2], generations.map { |it| it["generation"] })
    assert_leaves_nothing
  end

  def test_a_generation_that_is_killed_as_it_boots_leaves_the_last_one_serving
    serve
    deploy("File.write('booting', '1'); sleep")
    server.signal(:USR2)
    server.wait_until("it boots", 20) { File.exist?("#{@root}/booting") }
    Process.kill(:KILL, generations.last["pid"])
    assert_log(/! Generation 2 failed at boot: SIGKILL \(signal 9\); generation 1 serves on/)
    assert_serving "one"
  end

  def test_both_may_be_killed
    serve
    deploy("File.exist?('booting') ? nil : (File.write('booting', '1'); sleep)\n#{format(APP, "two")}")
    server.signal(:USR2)
    server.wait_until("it boots", 20) { File.exist?("#{@root}/booting") }
    generations.each { |it| Process.kill(:KILL, it["pid"]) }
    assert_log(/Starting generation 3/)
    assert_serves_again "two"
    assert_leaves_nothing
  end

  def test_a_worker_of_each_may_be_killed
    serve
    deploy("File.write('booting', '1'); sleep 0.01 until File.exist?('go')\n#{format(APP, "two")}")
    server.signal(:USR2)
    server.wait_until("it boots", 20) { File.exist?("#{@root}/booting") }
    assert_worker_is_replaced "one"
    File.write("#{@root}/go", "")
    assert_log(/Generation 2 serves/)
    assert_worker_is_replaced "two"
    assert_leaves_nothing
  end

  def test_a_newer_restart_supersedes_one_that_serves_nobody
    serve
    deploy("File.write('booting', '1'); sleep")
    server.signal(:USR2)
    server.wait_until("it boots", 20) { File.exist?("#{@root}/booting") }
    deploy(format(APP, "three"))
    assert_restarts
    assert_log(/\* Generation 2 ends: a newer restart was asked for/)
    assert_serving "three"
    assert_equal 3, figures["generation"]
    assert_equal({ "succeeded" => 1, "failed" => 0 }, figures["restarts"])
  end

  { TERM: :TERM, INT: 0, HUP: 0 }.each do |signal, status|
    define_method(:"test_#{signal}_ends_all_of_it") do
      serve
      deploy("File.write('booting', '1'); sleep")
      server.signal(:USR2)
      server.wait_until("it boots", 20) { File.exist?("#{@root}/booting") }
      pids = processes
      server.signal(signal)
      assert_exits status
      assert_empty(pids.select { |pid| alive?(pid) })
      refute File.exist?("#{@root}/server.pid")
      assert_refuses_connections
    end
  end

  { "stop" => 0, "halt" => 0 }.each do |command, status|
    define_method(:"test_#{command}_by_the_control_server_ends_all_of_it") do
      serve
      pids = processes
      assert_equal 0, control(command).last
      assert_exits status
      server.wait_until("all are gone", 20) { pids.none? { |pid| alive?(pid) } }
    end
  end

  # As a plugin does that stops the server it is in.
  def test_a_signal_to_the_master_is_one_to_the_server
    serve
    Process.kill(:INT, generations.first["pid"])
    assert_exits 0
  end

  def test_log_files_are_opened_anew_by_every_generation
    log = "#{@root}/out.log"
    serve "stdout_redirect #{log.dump}, #{log.dump}, true", wait: false
    server.wait_until("it serves", 20) { File.exist?(log) && File.read(log).scan("booted in").size == 2 }
    assert_restarts
    server.wait_until("the line is there", 20) { File.read(log).include?("Generation 2 serves") }
    File.rename(log, "#{log}.1")
    server.signal(:HUP)
    server.wait_until("there is a new one", 20) { File.exist?(log) }
    assert_serving "one"
  end

  def test_a_keeper_that_is_killed_leaves_nobody_behind
    serve
    pids = processes - [server.pid]
    server.signal(:KILL)
    server.wait_until("all are gone", 20) { pids.none? { |pid| alive?(pid) } }
  end

  def test_a_first_start_that_fails_is_as_without_a_keeper
    deploy("raise 'at first'")
    serve wait: false
    assert_exits 1
    assert_match(/Unable to load application: RuntimeError: at first/, server.log)
    assert_empty(server.log.scan(/eneration/))
  end

  def test_workers_more_and_fewer
    serve
    server.signal(:TTIN)
    server.wait_until("there are three", 20) { figures["booted_workers"] == 3 }
    server.signal(:TTOU)
    server.wait_until("there are two", 20) { figures["workers"] == 2 }
  end

  # ---- systemd --------------------------------------------------------------------------------------------------

  # It hears no process but the main one, which is the one that it started.
  def test_systemd_hears_everything_from_the_keeper
    path = File.join(@root, "notify")
    socket = Socket.new(:UNIX, :DGRAM).tap { |it| it.bind(Addrinfo.unix(path)) }
    socket.setsockopt(:SOCKET, :PASSCRED, true)
    serve "", env: { "NOTIFY_SOCKET" => path, "WATCHDOG_USEC" => "400000" }
    heard = listen(socket)
    assert_hears heard, /\AREADY=1\z/, /\AWATCHDOG=1\z/, %r{\ASTATUS=.*cluster: 2/2}
    server.signal(:USR2)
    assert_hears heard, /\ARELOADING=1\nMONOTONIC_USEC=\d+\z/, /\AREADY=1\z/, /\AWATCHDOG=1\z/
    deploy("raise 'no'")
    server.signal(:USR2)
    assert_hears heard, /\ARELOADING=1/, /\AREADY=1\nSTATUS=! Generation 3 failed at boot: config.ru:1: no/,
                 /\ASTATUS=.* ! Generation 3 failed/
    server.signal(:TERM)
    assert_hears heard, /\ASTOPPING=1\z/
    assert_exits :TERM
  end

  def test_sockets_of_systemd_are_handed_over_and_left_open
    @port = UniquePort.call
    systemd = TCPServer.new("127.0.0.1", @port)
    serve "", activated: systemd
    assert_log(%r{\* Activated tcp://127\.0\.0\.1:#{@port}})
    2.times { assert_restarts }
    assert_log(%r{\* Inherited tcp://127\.0\.0\.1:#{@port}})
    assert_serving "one"
    server.signal(:TERM)
    assert_exits :TERM
    server.connect.close
  end

  def test_the_keeper_is_small
    serve
    # Pages of program files count as private or shared by what else happens to run.
    dirty = Integer(File.read("/proc/#{server.pid}/smaps_rollup")[/^Private_Dirty:\s+(\d+) kB/, 1])
    assert_operator dirty, :<=, 8 * 1024
  end

  private

  # @return [String] its folder
  def write_gem(version)
    folder.tap do |place|
      FileUtils.mkdir_p("#{place}/lib")
      File.write("#{place}/lib/greeting.rb", "GREETING = 'hello from #{version}'\n")
      File.write("#{place}/greeting.gemspec", <<~RUBY)
        Gem::Specification.new("greeting", "#{version}") { |spec| spec.summary = spec.author = "x"; spec.files = ["lib/greeting.rb"] }
      RUBY
    end
  end

  # @return [Hash] the environment of a bundle of these gems
  def lock(gems) = bundle(@root, "gem 'rack'\ngem 'rserve', path: #{TestServer::ROOT.dump}\n#{gems}\n", task: "lock")

  def deploy(text) = File.write("#{@root}/config.ru", text)

  # @param words [String] of the configuration, besides what every test wants
  # @param listen [Array<String>] more than the port of the test
  # @param program [Array<String>] what starts the server
  def serve(words = "", listen: [], directory: nil, wait: true, env: {}, activated: nil, program: PROGRAM)
    @port ||= UniquePort.call
    configure(words, listen:)
    command = [*program, "-C", "#{@root}/config/puma.rb"]
    command = ["sh", "-c", 'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@"', "-", *command] if activated
    start_process(command, port: @port, chdir: directory || @root, env: { "PWD" => directory || @root, **env }, wait:,
                           fds: activated ? { 3 => activated } : {})
    return unless wait

    2.times { |index| assert_log(/Worker #{index} \(PID: \d+\) booted/) }
    @descriptors = descriptors
  end

  def configure(words, listen: [])
    FileUtils.mkdir_p("#{@root}/config")
    File.write("#{@root}/config/puma.rb", <<~RUBY)
      workers 2
      preload_app!
      bind "tcp://127.0.0.1:#{@port}"
      #{listen.map { |url| "bind #{url.dump}" }.join("\n")}
      pidfile "#{@root}/server.pid"
      state_path "#{@root}/server.state"
      worker_check_interval 1
      activate_control_app "unix://#{@root}/control.sock", { auth_token: "#{TOKEN}" }
      rserve { overlap_restart; restart_settle 0 }
      #{words}
    RUBY
  end

  # @return [Queue] what the keeper tells, and nobody else
  def listen(socket)
    Thread::Queue.new.tap do |heard|
      Thread.new do
        loop do
          text, _, _, credentials = socket.recvmsg
          heard << text if credentials.data.unpack1("i") == server.pid
        end
      end
    end
  end

  # Each of these, in this order; others in between.
  def assert_hears(heard, *patterns)
    patterns.each do |pattern|
      server.wait_until("systemd hears #{pattern.inspect}", 20) do
        !heard.empty? && heard.pop.match?(pattern)
      end
    end
  end

  # @return [Array(String, Integer)] what rservectl says, and its status
  def control(*arguments)
    command = [RbConfig.ruby, "-I#{TestServer::ROOT}/lib", TestServer.rservectl, "-S", "#{@root}/server.state"]
    text, status = Open3.capture2e(*command, "--timeout", "30", *arguments)
    [text, status.exitstatus]
  end

  def figures = JSON.parse(control("--json", "stats").first)

  def generations = JSON.parse(control("--json", "generations").first).fetch("generations")

  def assert_restarts
    pid = server.pid
    text, status = control("restart", "--wait")
    assert_equal 0, status, text
    assert_match(/^Generation \d+ serves, after/, text)
    assert_equal pid.to_s, File.read("#{@root}/server.pid").strip
  end

  def get_from(port, host = "127.0.0.1")
    TCPSocket.open(host, port) do |socket|
      socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      ResponseReader.new(socket).receive.body
    end
  end

  def subject_at(port)
    require "openssl"
    TCPSocket.open("127.0.0.1", port) do |socket|
      tls = OpenSSL::SSL::SSLSocket.new(socket)
      tls.connect
      tls.peer_cert.subject.to_s
    end
  end

  # @return [Array<Integer>] the keeper and all that come of it
  def processes
    parents = Dir.children("/proc").grep(/\A\d+\z/).to_h do |pid|
      [pid.to_i, File.read("/proc/#{pid}/stat")[/.*\) \S (\d+)/m, 1].to_i]
    rescue SystemCallError
      [pid.to_i, 0]
    end
    family = [server.pid]
    loop do
      more = parents.filter_map { |pid, parent| pid if family.include?(parent) } - family
      return family if more.empty?

      family += more
    end
  end

  def alive?(pid)
    !File.read("/proc/#{pid}/stat").match?(/\) Z /)
  rescue SystemCallError
    false
  end

  # @param text [String] of the generation whose worker was the last one to boot
  def assert_worker_is_replaced(text)
    mark = server.mark
    index, pid = server.log.scan(/Worker (\d) \(PID: (\d+)\) booted/).last
    Process.kill(:KILL, Integer(pid))
    server.wait_for_log(/Worker #{index} \(PID: (?!#{pid})\d+\) booted/, after: mark)
    assert_serves_again text
  end

  # What a killed worker has taken is lost; what comes after it is not.
  def assert_serves_again(text)
    server.wait_until("it serves #{text}", 20) { get("/").body == text rescue false } # rubocop:disable Style/RescueModifier
  end

  def descriptors = Dir.children("/proc/#{server.pid}/fd").size

  # Keeper, master and two workers, and of descriptors what the keeper had in the beginning.
  def assert_leaves_nothing
    server.wait_until("the last generation is gone", 20) { processes.size == 4 }
    server.wait_until("its descriptors are gone", 20) { descriptors == @descriptors }
  end
end
