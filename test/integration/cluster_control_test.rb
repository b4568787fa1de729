# frozen_string_literal: true

require "open3"
require_relative "../helpers/server_case"

# What the operator of a cluster sees: statistics by rservectl, and what systemd is told.
class ClusterControlTest < ServerCase
  parallelize_me!

  KEYS = %w[started_at workers phase booted_workers old_workers worker_status versions].freeze
  WORKER_KEYS = %w[started_at pid index phase booted last_checkin last_status].freeze

  # A worker's figures at each level.
  FIGURES = {
    6 => %w[backlog running pool_capacity max_threads requests_count busy_threads],
    7 => %w[backlog running pool_capacity busy_threads backlog_max max_threads requests_count reactor_max],
    8 => %w[backlog running pool_capacity busy_threads io_threads backlog_max max_threads requests_count reactor_max]
  }.freeze

  PUMAS = { 6 => "6.6.0", 7 => "7.2.1", 8 => "8.0.2" }.freeze

  FIGURES.each do |level, figures|
    define_method("test_statistics_are_pumas_key_for_key_at_level_#{level}") do
      spawn_cluster("--compat", level.to_s)
      text = stats_when { |stats| stats["worker_status"].all? { |worker| worker["last_status"].any? } }
      refute_match(/[:,] /, text, "no white space, as Puma's")
      stats = JSON.parse(text)
      assert_equal KEYS, stats.keys - %w[accept_queue accept_queue_limit]
      assert_equal [2, 0, 2, 0], stats.values_at("workers", "phase", "booted_workers", "old_workers")
      assert_equal PUMAS[level], stats.dig("versions", "puma")
      stats["worker_status"].each_with_index do |worker, index|
        assert_equal WORKER_KEYS, worker.keys
        assert_equal [index, 0, true], worker.values_at("index", "phase", "booted")
        assert_match(/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z/, worker["last_checkin"])
        assert_equal figures, worker["last_status"].keys
        assert_equal [2, 2], worker["last_status"].values_at("pool_capacity", "max_threads")
      end
    end
  end

  def test_requests_of_the_workers_are_counted_and_told
    spawn_cluster(config: "worker_check_interval 1\nworker_timeout 5")
    10.times { assert_serving }
    stats_when do |stats|
      stats["worker_status"].sum { |worker| worker.dig("last_status", "requests_count").to_i } == 10
    end
  end

  # What a level does not tell its operator is in the master all the same.
  def test_the_master_knows_all_figures_of_its_workers_at_level_6
    spawn_cluster(config: <<~RUBY)
      worker_check_interval 1
      worker_timeout 5
      all_figures = Class.new do
        def start(launcher)
          Thread.new do
            loop do
              told = launcher.instance_variable_get(:@runner).native_workers.map { |worker| worker[:last_status] }
              puts "all figures: \#{told.compact.sum { |status| status[:reactor_max] }}"
              sleep 0.2
            end
          end
        end
      end
      Rserve::Plugins.register("all_figures", all_figures)
      plugin :all_figures
    RUBY
    socket = server.connect
    assert_log(/all figures: [1-9]/)
    assert_empty stats_when(&:itself).scan("reactor_max"), "no figure of Puma's 7"
  ensure
    socket&.close
  end

  STUCK = <<~'RUBY'
    run lambda { |env|
      Process.kill(:STOP, Process.pid) if env["PATH_INFO"] == "/stop"
      [200, {}, [Process.pid.to_s]]
    }
  RUBY

  def test_the_control_server_tells_where_the_threads_of_all_workers_are
    ["", "fork_worker 0"].each do |config|
      spawn_cluster(config:)
      threads = nil
      server.wait_until("all workers have answered", 20) do
        threads = backtraces
        threads.none? { |thread| thread["name"].start_with?("Worker") || thread["backtrace"].empty? }
      end
      assert_equal [nil, 0, 1], threads.map { |thread| thread["worker"] }.uniq, "the master's first"
      assert_equal %w[name backtrace], threads.first.keys, "as Puma has them"
      assert(threads.all? { |thread| thread["name"].start_with?("Thread: TID-") && thread["backtrace"].any? })
      [0, 1].each do |index|
        own = threads.select { |thread| thread["worker"] == index }
        assert_equal [worker_pid(index)], own.map { |thread| thread["pid"] }.uniq
        assert(own.any? { |thread| thread["name"].include?("wrkr check") }, own.inspect)
      end
    end
  end

  def test_a_worker_that_says_nothing_of_its_threads_is_told
    skip_unless :linux
    spawn_cluster(app: file("stuck.ru", STUCK))
    Thread.new { get("/stop") rescue nil } # rubocop:disable Style/RescueModifier
    stopped = server.wait_until("a worker is stopped", 10) { [0, 1].find { |index| stopped?(worker_pid(index)) } }
    threads = nil
    server.wait_until("the other one has answered", 20) do
      threads = backtraces
      threads.count { |thread| thread["worker"] == 1 - stopped } > 1
    end
    silent = threads.select { |thread| thread["worker"] == stopped }
    pid = worker_pid(stopped)
    assert_equal [{ "name" => "Worker #{stopped} (PID: #{pid})", "backtrace" => ["<does not answer within 1 s>"],
                    "worker" => stopped, "pid" => pid }], silent
  ensure
    Process.kill(:CONT, pid) if pid
  end

  def test_master_and_workers_tell_where_their_threads_are_at_level_8
    signal = Signal.list.key?("INFO") ? :INFO : :PWR
    spawn_cluster("--compat", "8")
    output, status = Open3.capture2e({ "RSERVE_COMPAT" => "8" }, RbConfig.ruby, "-Ilib", TestServer.rservectl,
                                     "-p", server.pid.to_s, "info", chdir: TestServer::ROOT)
    assert_predicate status, :success?, output
    assert_log(/^\[#{server.pid}\] Thread: TID-\w+/)
    worker = Integer(server.log[/Worker 1 \(PID: (\d+)\) booted/, 1])
    Process.kill(signal, worker)
    assert_log(/^\[#{worker}\] Thread: TID-\w+ puma srv/)
    assert_serving
  end

  def test_a_phased_restart_of_a_preloaded_cluster_is_a_hot_one_and_no_failure
    spawn_cluster("--preload", "--fork-worker")
    assert_log(/Restarts: \(✔\) hot \(✖\) phased \(✔\) refork/)
    mark = server.mark
    output, status = rservectl("phased-restart")
    assert_predicate status, :success?, output
    server.wait_for_log(/phased-restart called but not available, restarting normally/, after: mark)
    server.wait_for_log(/Ctrl-C/, after: mark)
    assert_serving
  end

  def test_systemd_hears_of_the_cluster
    path = File.join(folder, "notify")
    listener = Socket.new(:UNIX, :DGRAM)
    listener.bind(Addrinfo.unix(path))
    spawn_cluster(env: { "NOTIFY_SOCKET" => path, "WATCHDOG_USEC" => "400000" })
    pool = "{ 0/2 threads, 2 available, 0 backlog }"
    hear(listener, "READY=1", "WATCHDOG=1",
         "STATUS=rserve #{Rserve::VERSION}: cluster: 2/2, worker_status: [#{pool},#{pool}]")
    server.signal(:USR1)
    hear(listener, "RELOADING=1", "READY=1")
    server.signal(:USR2)
    hear(listener, "RELOADING=1", "READY=1")
    server.signal(:TERM)
    hear(listener, "STOPPING=1")
    assert_exits :TERM
  ensure
    listener&.close
  end

  private

  def spawn_cluster(*arguments, config: "", **options)
    @url = "tcp://127.0.0.1:#{UniquePort.call}"
    spawn_server("-w", "2", "-t", "0:2", "--control-url", @url, "--control-token", "secret", *arguments,
                 config: "#{config}\n", **options)
    2.times { |index| assert_log(/Worker #{index} .* booted/) }
  end

  # @return [Array(String, Process::Status)]
  def rservectl(command)
    Open3.capture2e(RbConfig.ruby, "-Ilib", TestServer.rservectl, "-C", @url, "-T", "secret", command,
                    chdir: TestServer::ROOT)
  end

  # @return [Array<Hash>]
  def backtraces
    output, status = rservectl("thread-backtraces")
    assert_predicate status, :success?, output
    JSON.parse(output.lines.last)
  end

  def worker_pid(index) = Integer(server.log[/Worker #{index} \(PID: (\d+)\) booted/, 1])

  def stopped?(pid) = File.read("/proc/#{pid}/stat").rpartition(")").last.start_with?(" T")

  # @return [String] the statistics, once they are as wanted
  def stats_when
    text = nil
    server.wait_until("the statistics are as wanted", 10) do
      output, status = rservectl("stats")
      assert_predicate status, :success?, output
      text = output.lines.last
      yield JSON.parse(text)
    end
    text
  end

  # Waits for the messages, in this order; others may come in between.
  def hear(listener, *messages)
    heard = []
    until messages.empty?
      listener.wait_readable(Patience.for(15)) ||
        flunk("systemd did not hear #{messages.first.inspect} but #{heard.inspect}")
      heard << listener.recv(1024)
      messages.shift if heard.last == messages.first
    end
  end
end
