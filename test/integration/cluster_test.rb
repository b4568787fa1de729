# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/client_load"

# A cluster while things go wrong around it. REPEAT is how often a restart is repeated (5).
class ClusterTest < ServerCase
  REPEAT = Integer(ENV.fetch("REPEAT", 5))
  PID = "test/rackup/sleep_pid.ru"

  def self.limit = 60 + (REPEAT * 10)

  def test_a_killed_worker_is_replaced_at_once
    # Not only when the master looks after its workers.
    spawn_cluster config: "worker_timeout 2000\nworker_check_interval 1000\n"
    mark = server.mark
    Process.kill(:KILL, worker_pids.first)
    server.wait_for_log(/Worker 0 \(PID: \d+\) booted/, after: mark)
    assert_serving
  end

  def test_the_death_of_a_worker_is_told
    spawn_server "-w", "1", app: file("death.ru", <<~'RUBY')
      run ->(env) { env["PATH_INFO"] == "/exit" ? exit!(7) : [200, {}, [Process.pid.to_s]] }
    RUBY
    pid = Integer(get("/").body)
    Process.kill(:KILL, pid)
    assert_log(/! Worker 0 \(PID: #{pid}\) died: SIGKILL \(signal 9\), up [\d.]+s, perhaps out of memory$/)
    server.wait_for_log(/booted.*booted/m)
    pid = Integer(get("/").body)
    assert_raises(EOFError, Errno::ECONNRESET) { get("/exit") }
    assert_log(/! Worker 0 \(PID: #{pid}\) died.*: exit 7, up [\d.]+s$/)
  end

  # What happens first is told first; a worker that goes as it is told to is no line.
  def test_lines_of_a_stop_come_in_the_order_of_what_happens
    %i[INT TERM].each do |signal|
      spawn_server "-w", "1", config: <<~RUBY
        on_worker_shutdown { $stdout.syswrite("worker ends\n") }
      RUBY
      assert_serving
      assert_log(/booted/)
      mark = server.mark
      server.signal(signal)
      server.wait_exit
      said = server.log.byteslice(mark..).lines.map { |line| line.sub(/\A\[\d+\] /, "").slice(0, 13) }
      assert_equal ["- Gracefully ", "worker ends\n", "=== rserve sh", "- Goodbye!\n"], said, server.log
    end
  end

  def test_killing_a_worker_costs_its_own_connections_only
    spawn_cluster app: PID, threads: 2
    server.wait_until("both workers take connections", 10) { workers_of_new_connections(12).size == 2 }
    clients = []
    workers = {}
    server.wait_until("both workers have clients", 10) do
      clients << server.connect
      workers[clients.last] = worker_of(clients.last)
      clients.size >= 12 && workers.values.uniq.size == 2
    end
    victim = workers.values.first
    mark = server.mark
    Process.kill(:KILL, victim)
    survivors = workers.reject { |_, pid| pid == victim }
    refute_empty survivors
    survivors.each_key { |io| refute_equal victim, worker_of(io) }
    server.wait_for_log(/booted/, after: mark)
    server.wait_until("two workers take new connections", 10) { workers_of_new_connections(20).size == 2 }
  ensure
    clients&.each(&:close)
  end

  def test_term_answers_everything_that_was_accepted
    REPEAT.times do
      spawn_cluster
      # Few, so that none of them is kept from writing for longer than a stopping server waits for it.
      load = ClientLoad.new(server, keep_alive: 4, fresh: 4)
      server.wait_until("there is load", 10) { load.asked > 200 }
      server.signal(:TERM)
      assert_exits :TERM
      assert_empty load.stop.except("answered", "refused")
    end
  end

  def test_hot_restarts_lose_nothing
    spawn_cluster
    assert_nothing_lost do
      hot_restart
      wait_for_workers(0)
    end
  end

  def test_phased_restarts_lose_nothing
    spawn_cluster
    phase = 0
    assert_nothing_lost do
      @mark = server.mark
      server.signal(:USR1)
      wait_for_workers(phase += 1)
    end
  end

  def test_workers_that_come_and_go_lose_nothing
    spawn_cluster
    assert_nothing_lost do
      mark = server.mark
      server.signal(:TTIN)
      pid = Integer(server.wait_for_log(/Worker 2 \(PID: (\d+)\) booted/, after: mark)[1])
      server.signal(:TTOU)
      server.wait_until("it has gone", 10) { !alive?(pid) }
    end
  end

  def test_phased_restarts_of_a_mold_lose_nothing
    spawn_cluster config: "fork_worker 0\n"
    phase = 0
    assert_nothing_lost(body: "A" * 16_256) do
      @mark = server.mark
      server.signal(:USR1)
      wait_for_workers(phase += 1)
    end
  end

  def test_a_stopped_worker_gets_no_more_than_it_can_hold
    spawn_cluster app: PID, threads: 2
    stopped, = worker_pids
    server.suspend(stopped)
    # The first few may go to the worker that does not know yet that it is stopped.
    sent = Array.new(40) { server.connect.tap { |io| io.write("GET /sleep0 HTTP/1.1\r\nHost: a\r\n\r\n") } }
    answered = sent.last(30).count { |io| io.wait_readable(Patience.for(5)) }
    assert_equal 30, answered, "answered by the other worker"
  ensure
    Process.kill(:CONT, stopped) if stopped
    sent&.each(&:close)
  end

  # Says in a file that it has begun, and takes its time.
  SLEEPY = <<~'RUBY'
    run lambda { |env|
      if env["PATH_INFO"] == "/slow"
        File.write("#{ENV["BEGUN"]}/#{Process.pid}-#{env.object_id}", "")
        sleep 0.05 until File.exist?("#{ENV["BEGUN"]}/go")
      end
      [200, {}, ["done"]]
    }
  RUBY

  def test_a_busy_worker_leaves_new_connections_to_the_other
    begun = folder
    spawn_cluster app: file("sleepy.ru", SLEEPY), threads: 2, env: { "BEGUN" => begun }
    sleepers = Array.new(2) { server.connect.tap { |io| io.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n") } }
    server.wait_until("both have begun", 10) { Dir.children(begun).size == 2 }
    20.times { assert_equal "done", get("/quick").body }
  ensure
    FileUtils.touch(File.join(begun, "go"))
    sleepers&.each(&:close)
  end

  def test_workers_do_not_outlive_their_master
    spawn_cluster
    pids = worker_pids
    server.signal(:KILL)
    server.wait_exit
    server.wait_until("its workers are gone", 10) { pids.none? { |pid| alive?(pid) } }
  end

  def test_a_worker_that_dies_at_boot_is_not_forked_in_a_storm
    spawn_server "-w", "1", config: "on_worker_boot { puts 'booting'; $stdout.flush; exit! 1 }", wait: false
    server.wait_for_log(/booting/)
    mark = server.mark
    refute_raised_in(4) { server.wait_for_log(/(booting.*){9}/m, timeout: 4, after: mark) }
  end

  private

  def spawn_cluster(app: "test/rackup/hello.ru", threads: 5, config: "", **options)
    spawn_server("-w", "2", "-t", "#{threads}:#{threads}", app:, config: "worker_check_interval 1\n#{config}",
                                                           **options)
    @mark = 0
    wait_for_workers(0)
  end

  def wait_for_workers(phase)
    2.times { |index| server.wait_for_log(/Worker #{index} \(PID: \d+\) booted in .*, phase: #{phase}/, after: @mark) }
  end

  def hot_restart
    @mark = server.mark
    super
  end

  # Restarts (the block) under load, by few clients, so that none of them is kept from writing for longer than a worker
  # that stops waits for it.
  def assert_nothing_lost(**load)
    load = ClientLoad.new(server, keep_alive: 4, fresh: 4, **load)
    REPEAT.times do
      asked = load.asked
      yield
      server.wait_until("the new workers have served", 10) { load.asked > asked + 200 }
    end
    results = load.stop
    assert_equal ["answered"], results.keys, results.inspect
  end

  # Asks on `io`, and stays connected.
  # @return [Integer] pid
  def worker_of(io)
    io.write("GET /sleep0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    Integer(ResponseReader.new(io).receive.body[/\d+\z/])
  end

  # @return [Array<Integer>] pids
  def workers_of_new_connections(count)
    clients = Array.new(count) { server.connect }
    clients.map { |io| worker_of(io) }.uniq
  ensure
    clients&.each(&:close)
  end

  # The newest process of each index, by index.
  def worker_pids
    server.log.scan(/Worker (\d+) \(PID: (\d+)\) booted/).to_h { |index, pid| [index.to_i, pid.to_i] }.sort.map(&:last)
  end

  def refute_raised_in(seconds)
    yield
    flunk "that happened within #{seconds} s:\n#{server.log}"
  rescue ServerProcess::Late
    pass
  end

  def alive?(pid)
    File.read("/proc/#{pid}/stat")[/\) (\S)/, 1] != "Z"
  rescue Errno::ENOENT, Errno::ESRCH
    false
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
