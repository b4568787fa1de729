# frozen_string_literal: true

require "open3"
require_relative "../helpers/server_case"

# The operator's port (`health_bind`): it answers whatever the application, the master and the workers are doing.
class OperatorPortTest < ServerCase
  parallelize_me!

  MODES = { "single" => [], "cluster" => %w[-w 2], "preloaded cluster" => %w[-w 2 --preload] }.freeze
  # It waits in the application for as long as there is no file `gate`.
  WAITS = <<~RUBY
    run ->(env) {
      sleep 0.01 until env["PATH_INFO"] == "/" || File.exist?(ENV.fetch("GATE"))
      [200, {}, ["Hello World"]]
    }
  RUBY

  def setup
    super
    @port = UniquePort.call
    @gate = File.join(folder, "gate")
  end

  def test_tells_how_it_is
    MODES.each do |name, arguments|
      start(*arguments)
      ready
      wanted = arguments.empty? ? [0] : [0, 1]
      told = server.wait_until("all workers are told of as ready", 20) { all_ready(wanted) }
      assert_equal [200, "ok"], ask("/livez"), name
      assert_equal [404, "Not Found"], ask("/other"), name
      assert_equal [405, "Method Not Allowed"], ask("/livez", "POST"), name
      status = JSON.parse(ask("/status").last)
      assert_equal [server.pid, name[/\w+\z/], "running", "ok"], status.values_at("pid", "mode", "state", "ready"), name
      assert_match(/\Arserve #{Rserve::VERSION} as Puma /, status["identity"])
      assert_equal RUBY_DESCRIPTION, "ruby #{status["versions"]["ruby"]}"
      assert_equal [[0, true]], told.map { |worker| worker.values_at("phase", "booted") }.uniq, name
      server.stop
    end
  end

  def test_answers_on_a_unix_socket
    path = File.join(folder, "health.sock")
    spawn_server(config: "rserve { health_bind 'unix://#{path}' }")
    ready { UNIXSocket.new(path) }
    hot_restart
    assert_equal [200, "ok"], ask("/livez") { UNIXSocket.new(path) }
    server.signal(:INT)
    assert_exits 0
    refute_path_exists path
  end

  def test_answers_while_the_application_is_loaded
    app = file("slow.ru", "sleep 0.01 until File.exist?(ENV.fetch('GATE'))\n#{WAITS}")
    MODES.each do |name, arguments|
      start(*arguments, app:, wait: false)
      server.wait_for_log(/Operator's port on/)
      50.times { assert_equal [[200, "ok"], [503, "booting"]], [ask("/livez"), ask("/readyz")], name }
      File.write(@gate, "")
      ready
      FileUtils.rm(@gate)
      server.stop
    end
  end

  def test_answers_while_every_thread_is_busy_and_many_wait
    [[], %w[-w 2]].each do |arguments|
      start(*arguments, "-t", "5:5", app: file("waits.ru", WAITS), more: "ready_saturation 0.2")
      ready
      waiting = fill(40)
      server.wait_until("it is saturated", 20) { ask("/readyz") == [503, "saturated"] }
      100.times { assert_equal [200, "ok"], ask("/livez") }
      File.write(@gate, "")
      waiting.each { |socket| assert_equal 200, ResponseReader.new(socket).receive.status }
      ready
    ensure
      waiting&.each(&:close)
      FileUtils.rm_f(@gate)
      server.stop
    end
  end

  def test_answers_while_workers_stand_still
    start("-w", "2")
    ready
    workers = worker_pids
    workers.each { |pid| server.suspend(pid) }
    50.times { assert_equal [200, "ok"], ask("/livez") }
  ensure
    workers&.each { |pid| Process.kill(:CONT, pid) }
  end

  def test_is_not_alive_when_all_workers_or_the_master_stand_still_for_long
    start("-w", "1", config: "worker_check_interval 1\nworker_timeout 2\n")
    ready
    server.suspend
    server.wait_until("it is not alive", 20) { ask("/livez") == [503, "master stuck"] }
    server.signal(:CONT)
    server.wait_until("it is alive", 20) { ask("/livez") == [200, "ok"] }
  ensure
    server.signal(:CONT)
  end

  def test_answers_while_a_hook_blocks_the_master
    hook = "before_worker_fork do |index|\n  next if index.zero?\n  puts 'in the hook'\n  " \
           "sleep 0.01 until File.exist?('#{@gate}')\nend\n"
    start("-w", "1", config: hook)
    ready
    server.signal(:TTIN)
    server.wait_for_log(/in the hook/)
    50.times { assert_equal [[200, "ok"], [200, "ok"]], [ask("/livez"), ask("/readyz")] }
    File.write(@gate, "")
    server.wait_for_log(/Worker 1 \(PID: \d+\) booted/)
  end

  def test_no_probe_is_refused_over_restarts
    MODES.each do |name, arguments|
      start(*arguments)
      ready
      answers = probing do
        3.times { hot_restart }
        next if name != "cluster"

        mark = server.mark
        server.signal(:USR1)
        2.times { |index| server.wait_for_log(/Worker #{index} \(PID: \d+\) booted in [\d.]+s, phase: 1/, after: mark) }
      end
      assert_equal [200], answers.keys, "#{name}: #{answers.inspect}"
      server.stop
    end
  end

  def test_readiness_is_that_of_the_generation_that_serves
    path = File.join(folder, "health.sock")
    start("-w", "2", "--preload", more: "overlap_restart; restart_settle 0.1; health_bind 'unix://#{path}'")
    ready
    before = told_pid
    answers = probing("/readyz") do
      server.signal(:USR2)
      server.wait_until("another generation tells", 60) { told_pid != before }
    end
    assert_equal [200], answers.keys, answers.inspect
    assert_equal [200, "ok"], ask("/readyz") { UNIXSocket.new(path) }
    before = told_pid
    Process.kill(:KILL, before)
    server.wait_until("another one tells", 60) { told_pid != before }
    ready
    server.signal(:INT)
    assert_exits 0
    refute_path_exists path
  end

  def test_tells_how_restarts_that_overlap_have_gone
    app = file("app.ru", serving = "run ->(_) { [200, {}, ['Hello World']] }\n")
    start("-w", "1", "--preload", app:, more: "overlap_restart; restart_settle 0")
    ready
    assert_equal({ "generation" => 1 }, restarts)
    File.write(app, "raise 'no database'\n")
    server.signal(:USR2)
    server.wait_for_log(/Generation 2 failed at boot/)
    server.wait_until("it is told", 20) { restarts == { "generation" => 1, "failed_boot" => 1 } }
    File.write(app, serving)
    server.signal(:USR2)
    server.wait_for_log(/Generation 3 serves/)
    server.wait_until("it is told", 20) { restarts == { "generation" => 3, "failed_boot" => 1, "completed" => 1 } }
  end

  def test_who_is_slow_or_wrong_keeps_nobody_out
    start
    others = Array.new(100) { TCPSocket.new("127.0.0.1", @port) }
    kinds = ["", "GET /li", "\x16\x03\x01", "x" * 9000]
    others.each_with_index { |socket, index| send_quietly(socket, kinds[index % kinds.size]) }
    50.times { assert_equal [200, "ok"], ask("/livez") }
    text = "GET /livez HTTP/1.1\r\n#{"X: #{"y" * 1000}\r\n" * 9}\r\n"
    assert_equal 431, exchange(text).status
  ensure
    others&.each(&:close)
  end

  def test_its_process_comes_back_and_goes_with_the_master
    start("-w", "1")
    ready
    operator = operator_pid
    Process.kill(:KILL, operator)
    server.wait_for_log(/The operator's process \(PID: #{operator}\) ended: SIGKILL/)
    server.wait_until("another one", 20) { operator_pid&.!=(operator) && ask("/readyz") == [200, "ok"] }
    operator = operator_pid
    %i[INT TERM HUP USR1 USR2].each { |name| Process.kill(name, operator) }
    assert_equal [200, "ok"], ask("/livez")
    server.signal(:KILL)
    server.wait_until("it is gone", 20) { !File.exist?("/proc/#{operator}") }
  end

  # It is not there just now, and its number may be another process' by now.
  def test_a_stop_while_its_process_is_to_come_back_later
    start("-w", "1")
    [1, 2, 4].each do |pause|
      server.wait_until("it is there", 20) { operator_pid }
      mark = server.mark
      Process.kill(:KILL, operator_pid)
      server.wait_for_log(/The operator's process .* next attempt in #{pause}s/, after: mark)
    end
    server.signal(:INT)
    assert_exits 0
    refute_log(/Errno|Error/)
  end

  def test_tells_where_the_threads_are_to_who_has_the_token
    MODES.each do |name, arguments|
      start(*arguments, "-t", "1:1", config: control)
      ready
      wanted = arguments.empty? ? [0] : [0, 1]
      told = server.wait_until("all workers have answered", 20) { all_answer(wanted) }
      assert(told.all? { |thread| thread.keys == %w[name backtrace worker pid] }, told.inspect)
      assert(told.any? { |thread| thread["name"].include?("srv") }, told.inspect)
      bearer = ask("/threads?backtrace=1", "GET", "Authorization: Bearer a+secret\r\n")
      assert_equal 200, bearer.first, name
      ["", "&token=", "&token=a", "&token=a+secret"].each do |wrong|
        assert_equal 403, ask("/threads?backtrace=1#{wrong}").first, "#{name}: #{wrong}"
      end
      assert_match(/control server's token/, ask("/threads?backtrace=1").last)
      assert_equal %w[workers threads], JSON.parse(ask("/threads?backtrace=0").last).keys
      refute_match(/secret/, children.map { |pid| title(pid) }.join, "everybody can read it")
      server.stop
    end
  end

  def test_without_a_token_nobody_learns_where_the_threads_are
    control = "activate_control_app 'tcp://127.0.0.1:#{UniquePort.call}', { no_token: true }\n"
    [["", []], [control, %w[-w 1]]].each do |config, arguments|
      start(*arguments, config:)
      ["", "&token=", "&token=none"].each do |token|
        status, text = ask("/threads?backtrace=1#{token}")
        assert_equal 403, status
        assert_match(/has none: see activate_control_app/, text)
      end
      server.stop
    end
  end

  def test_a_worker_that_does_not_say_where_its_threads_are_holds_nobody_up
    start("-w", "2", config: control)
    ready
    server.wait_until("all workers have answered", 20) { all_answer([0, 1]) }
    stopped = JSON.parse(ask("/status").last)["worker_status"].find { |worker| worker["index"] == 1 }["pid"]
    server.suspend(stopped)
    asked = Thread.new { backtraces }
    20.times { assert_equal [200, "ok"], ask("/livez") }
    told = asked.value.group_by { |thread| thread["worker"] }
    # On a busy machine the other one may need longer, too.
    server.wait_until("the other one has answered", 30) do
      told = backtraces.group_by { |thread| thread["worker"] } if told[0].size == 1
      told[0].size > 1
    end
    silent = { "name" => "Worker 1 (PID: #{stopped})", "backtrace" => ["<does not answer within 1 s>"],
               "worker" => 1, "pid" => stopped }
    assert_equal [silent], told[1]
  ensure
    Process.kill(:CONT, stopped) if stopped
  end

  def test_workers_have_nothing_of_it
    start("-w", "1", "-f")
    ready
    operator = open_files(operator_pid)
    workers = worker_pids.flat_map { |pid| open_files(pid) }
    assert_empty operator.grep(/socket|pipe/) & workers
    # Standard streams, epoll, the listener, the memory, its end; Ruby's own event.
    assert_operator operator.size, :<=, 12, operator.inspect
  end

  def test_delays_the_end
    MODES.each do |name, arguments|
      start(*arguments, more: "shutdown_delay 60")
      ready
      kept = server.connect
      kept.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      assert_nil ResponseReader.new(kept).receive["Connection"], name
      server.signal(:TERM)
      server.wait_until("it drains", 20) { ask("/readyz") == [503, "draining"] }
      assert_equal [200, "ok"], ask("/livez"), name
      server.wait_until("it says goodbye", 20) { get("/")["Connection"] == "close" }
      kept.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      assert_equal "close", ResponseReader.new(kept).receive["Connection"], name
      server.signal(:INT)
      assert_exits :TERM
    ensure
      kept&.close
    end
  end

  def test_the_delay_ends_and_int_knows_none
    MODES.each_value do |arguments|
      start(*arguments, more: "shutdown_delay 0.3")
      server.signal(:TERM)
      assert_log(/Serving for 0\.3s more/)
      assert_exits :TERM
      start(*arguments, more: "shutdown_delay 60")
      server.signal(:INT)
      assert_exits 0
    end
  end

  def test_is_there_after_the_server_has_become_a_daemon
    pid_file = File.join(folder, "pid")
    app = file("daemon.ru", "Process.daemon(true, true)\nrun ->(_) { [200, {}, ['Hello World']] }\n")
    spawn_server("--pidfile", pid_file, app:, config: health, wait: false)
    server.wait_until("its pid is known", 20) { File.exist?(pid_file) && !File.zero?(pid_file) }
    pid = File.read(pid_file).to_i
    # What the process before it had accepted ends with that.
    server.wait_until("it is ready", 30) do
      ask("/readyz") == [200, "ok"]
    rescue Errno::ECONNRESET
      false
    end
    assert_equal pid, JSON.parse(ask("/status").last)["pid"]
  ensure
    Process.kill(:TERM, pid) if pid
    server.wait_until("it is gone", 20) { !File.exist?("/proc/#{pid}") } if pid
  end

  def test_what_would_keep_it_from_opening_is_one_line
    TCPServer.open("127.0.0.1", 0) do |taken|
      port = taken.addr[1]
      {
        "tcp://127.0.0.1:#{port}" => /Address already in use - bind\(2\) for .* port #{port} \(pid #{Process.pid}/,
        "unix:///nosuch/folder/health.sock" => %r{Cannot listen on unix:///nosuch/folder/health\.sock: No such file},
        "ssl://127.0.0.1:1" => %r{health_bind must be tcp://HOST:PORT or unix://PATH},
        "tcp://127.0.0.1:99999" => /a port is a number up to 65535/
      }.each do |url, reason|
        [[], %w[-w 1], %w[--check]].each do |arguments|
          text, status = refused(url, *arguments)
          assert_equal 1, status.exitstatus, text
          assert_match reason, text.lines.last
          assert_equal 1, text.lines.grep_v(/\A(\[\d+\] )?(rserve starting|\*)/).size, text
        end
      end
    end
  end

  private

  def health(more = nil) = "rserve { health_bind 'tcp://127.0.0.1:#{@port}'; #{more} }\n"

  def start(*arguments, config: "", more: nil, **options)
    spawn_server(*arguments, config: health(more) + config, env: { "GATE" => @gate }, **options)
  end

  def ready(&) = server.wait_until("it is ready", 30) { ask("/readyz", &) == [200, "ok"] }

  def control = "activate_control_app 'tcp://127.0.0.1:#{UniquePort.call}', { auth_token: 'a+secret' }\n"

  # @return [Array<Hash>]
  def backtraces
    status, text = ask("/threads?backtrace=1&token=a%2Bsecret")
    assert_equal 200, status, text
    JSON.parse(text).fetch("backtraces")
  end

  # @return [Array<Hash>, nil] nil as long as a worker does not say where its threads are, or one has not begun
  def all_answer(workers)
    told = backtraces
    answers = told.map { |thread| thread["worker"] }.uniq.sort == workers
    told if answers && told.none? { |it| it["name"].start_with?("Worker") || it["backtrace"].empty? }
  end

  # @return [Array(Integer, String)] status and content
  def ask(path, method = "GET", fields = "", &)
    response = exchange("#{method} #{path} HTTP/1.1\r\nHost: x\r\n#{fields}Connection: close\r\n\r\n", &)
    [response.status, response.body]
  end

  def exchange(octets)
    socket = block_given? ? yield : TCPSocket.new("127.0.0.1", @port)
    socket.write(octets)
    ResponseReader.new(socket).receive(timeout: 20)
  ensure
    socket&.close
  end

  # @return [Hash] how often each status was got, or each error, while the block ran
  def probing(path = "/livez")
    answers = Hash.new(0)
    ends = false
    prober = Thread.new do
      answers[probe(path)] += 1 until ends
    end
    yield
    ends = true
    prober.join
    answers
  end

  def probe(path)
    ask(path).first
  rescue SystemCallError, EOFError, Timeout::Error => e
    e.class
  end

  # @return [Array<Hash>, nil] nil as long as a worker is not there
  def all_ready(indexes)
    workers = JSON.parse(ask("/status").last)["worker_status"]
    workers if workers.map { |worker| worker.values_at("index", "state") } == indexes.map { |index| [index, "ready"] }
  end

  # @return [Hash] the generation, and how often restarts had which result, if ever
  def restarts
    metrics = ask("/metrics").last
    counts = metrics.scan(/^rserve_restarts_total\{result="(\w+)"\} (\d+)/).to_h.transform_values(&:to_i)
    { "generation" => metrics[/^rserve_generation (\d+)/, 1].to_i }.merge(counts.reject { |_, count| count.zero? })
  rescue SystemCallError, EOFError
    nil # nobody serves there just now
  end

  # @return [Integer, nil] the server's pid, as the port says
  def told_pid
    JSON.parse(ask("/status").last)["pid"]
  rescue SystemCallError, EOFError
    nil
  end

  # @return [Array<Socket>] clients that wait for a thread, or have one
  def fill(count)
    Array.new(count) { server.connect.tap { |socket| socket.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") } }
  end

  def send_quietly(socket, octets)
    socket.write(octets)
  rescue SystemCallError
    nil # closed already, to make room
  end

  # Of each of its threads.
  def children = Dir["/proc/#{server.pid}/task/*/children"].flat_map { |path| File.read(path).split.map(&:to_i) }

  def operator_pid = children.find { |pid| title(pid).match?(/\A\w+: operator: #{server.pid}/) }

  def worker_pids = children.select { |pid| title(pid).include?("cluster worker") }

  def title(pid)
    File.read("/proc/#{pid}/cmdline").tr("\0", " ").strip
  rescue SystemCallError
    ""
  end

  def open_files(pid) = Dir.children("/proc/#{pid}/fd").filter_map { |fd| readlink("/proc/#{pid}/fd/#{fd}") }

  def readlink(path)
    File.readlink(path)
  rescue SystemCallError
    nil
  end

  def refused(url, *arguments)
    command = [RbConfig.ruby, "-Ilib", TestServer.rserve, "-C", file("config.rb", "rserve { health_bind '#{url}' }"),
               "-b", "tcp://127.0.0.1:0", *arguments, "test/rackup/hello.ru"]
    Open3.capture2e(*command, chdir: TestServer::ROOT)
  end
end
