# frozen_string_literal: true

require "json"
require_relative "../helpers/client_load"
require_relative "../helpers/server_case"

# `refork_after`: workers are forked anew, again and again, from one that is warm and serves nobody.
class MoldTest < ServerCase
  parallelize_me!

  # Tells how often the processes that it comes of have served before they forked, and which one answers.
  APP = <<~'RUBY'
    $warmth = 0
    $forks = []
    run lambda { |env|
      sleep 0.01 until env["PATH_INFO"] != "/wait" || File.exist?(ENV.fetch("GATE"))
      $warmth += 1
      [200, {}, ["#{Process.pid} #{$warmth} #{$forks.size}"]]
    }
  RUBY
  HOOKS = <<~'RUBY'
    before_refork { puts "before_refork in #{Process.pid}" }
    after_refork { puts "after_refork in #{Process.pid}" }
    on_worker_boot { $forks << Process.ppid if defined?($forks) && $forks }
  RUBY

  def setup
    super
    @gate = File.join(folder, "gate")
  end

  { "preloaded" => "preload_app!\n", "not preloaded" => "" }.each do |name, preload|
    define_method(:"test_a_#{name.tr(" ", "_")}_cluster_is_forked_anew_again_and_again_and_loses_no_request") do
      serve(config: preload + HOOKS, counts: [20, 30])
      load = ClientLoad.new(server, keep_alive: 2, fresh: 3)
      3.times do |time|
        assert_log(/Starting worker refork, phase: #{time + 1}/, timeout: 60)
        assert_both_booted_in time + 1
      end
      counts = load.stop
      assert_equal ["answered"], counts.keys, counts.inspect
      assert_operator server.log.scan(/finishes its requests, to be the mold/).size, :>=, 3
      refute_log(/died|Unable|ERROR/)
      assert_even_hooks
      assert_operator warmth_at_fork, :>=, 20, "what it has computed is there"
      server.signal(:TERM)
      assert_exits :TERM
    end
  end

  def test_a_mold_that_is_killed_costs_nothing_and_the_next_worker_that_is_warm_is_the_next_one
    serve(counts: [5])
    load = ClientLoad.new(server, keep_alive: 1, fresh: 2)
    assert_log(/Starting worker refork, phase: 1/, timeout: 60)
    killed = mold
    Process.kill(:KILL, killed)
    assert_log(/! The mold \(PID: #{killed}\) died: SIGKILL/)
    mark = server.mark
    assert server.wait_for_log(/Starting worker refork, phase: [2-9]/, after: mark, timeout: 60)
    counts = load.stop
    assert_equal ["answered"], counts.keys, counts.inspect
  end

  def test_a_worker_whose_mold_has_died_and_whose_place_is_taken_finishes_what_it_has_begun
    serve(counts: [5], config: <<~RUBY)
      master = Process.pid
      on_worker_boot do
        if Process.ppid != master && !File.exist?("#{@gate}.forked")
          File.write("#{@gate}.forked", "")
          sleep 0.01 until File.exist?("#{@gate}")
        end
      end
      after_worker_fork do
        if Process.pid != master && !File.exist?("#{@gate}.killed")
          File.write("#{@gate}.killed", "")
          sleep 0.01 until File.exist?("#{@gate}.forked")
          Process.kill(:KILL, Process.pid)
        end
      end
    RUBY
    load = ClientLoad.new(server, keep_alive: 2, fresh: 2)
    assert_log(/! The mold \(PID: \d+\) died: SIGKILL(?m:.*)Worker \d \(PID: \d+\) booted/, timeout: 60)
    File.write(@gate, "")
    late = server.wait_for_log(/Out-of-sync worker list, no (\d+) worker/, timeout: 60)[1].to_i
    server.wait_until("it is gone", 30) { !alive?(late) }
    counts = load.stop
    assert_equal ["answered"], counts.keys, counts.inspect
  end

  def test_terminated_while_it_becomes_the_mold
    serve(counts: [1000])
    waiting = Array.new(4) { server.connect.tap { |socket| socket.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") } }
    refork
    assert_log(/finishes its requests, to be the mold/, timeout: 60)
    server.signal(:TERM)
    File.write(@gate, "")
    waiting.each { |socket| assert_equal 200, ResponseReader.new(socket).receive(timeout: 20).status }
    assert_exits :TERM
  ensure
    waiting&.each(&:close)
  end

  def test_restarted_with_a_mold
    %i[USR1 USR2].each do |signal|
      serve(counts: [5])
      load = ClientLoad.new(server, fresh: 2)
      assert_log(/Starting worker refork, phase: 1/, timeout: 60)
      former = mold
      mark = server.mark
      server.signal(signal)
      server.wait_until("the mold is gone", 30) { !alive?(former) }
      assert server.wait_for_log(/Starting worker refork, phase: \d+/, after: mark, timeout: 60)
      counts = load.stop
      # What a hot restart may cost is told in another test.
      assert_equal ["answered"], counts.keys, counts.inspect if signal == :USR1
      server.stop
    end
  end

  def test_a_generation_of_a_keeper_has_a_mold_of_its_own
    serve(config: "preload_app!\n", counts: [5], more: "overlap_restart; restart_settle 0")
    load = ClientLoad.new(server, keep_alive: 1, fresh: 2)
    assert_log(/Starting worker refork, phase: 1/, timeout: 60)
    mark = server.mark
    server.signal(:USR2)
    assert server.wait_for_log(/Generation 2 serves/, after: mark, timeout: 60)
    counts = load.stop
    assert_equal ["answered"], counts.keys, counts.inspect
    server.signal(:TERM)
    assert_exits :TERM
    refute_log(/! Generation/)
  end

  def test_no_worker_is_forked_while_the_application_forbids_it
    app = file("app.ru", <<~RUBY)
      run lambda { |env|
        if env["PATH_INFO"] == "/hold"
          Thread.new do
            Rserve.prevent_fork do
              File.write("#{@gate}.held", Process.pid.to_s)
              sleep 0.01 until File.exist?(#{@gate.dump})
            end
          end
        end
        [200, {}, [Process.pid.to_s]]
      }
    RUBY
    serve(app:, workers: 1, counts: [1000], config: "before_refork { puts 'is to fork' }\n")
    get("/hold")
    server.wait_until("it is held", 20) { File.exist?("#{@gate}.held") }
    refork
    assert_log(/^is to fork/, timeout: 60)
    holder = File.read("#{@gate}.held").to_i
    refute_log(/booted in [\d.]+s, phase: 1/)
    assert_equal holder, mold
    File.write(@gate, "")
    assert_log(/Worker 0 \(PID: \d+\) booted in [\d.]+s, phase: 1/)
    assert_serving_from_child_of holder
  end

  def test_is_asked_for_by_urg_and_the_control_server
    url = "tcp://127.0.0.1:#{UniquePort.call}"
    serve(config: "activate_control_app '#{url}', { no_token: true }\n", counts: [1000])
    assert_log(/Restarts: \(✔\) hot \(✔\) phased \(✔\) refork/)
    10.times { get("/") }
    refork
    assert_log(/is replaced: it has served \d+ requests, and is to be the mold/)
    assert_both_booted_in 1
    mark = server.mark
    assert_match(/"ok"/, ask(url[/\d+\z/], "/refork"))
    assert server.wait_for_log(/Starting worker refork, phase: 2/, after: mark, timeout: 60)
    assert_equal 200, get("/").status
  end

  def test_the_mold_is_in_no_figure
    port = UniquePort.call
    serve(counts: [1000], more: "health_bind 'tcp://127.0.0.1:#{port}'")
    20.times { get("/") }
    refork
    assert_both_booted_in 1
    server.wait_until("two workers are told of", 20) do
      status = JSON.parse(ask(port, "/status"))
      status["worker_status"].map { |worker| [worker["index"], worker["phase"]] } == [[0, 1], [1, 1]]
    end
    refute_includes JSON.parse(ask(port, "/status"))["worker_status"].map { |worker| worker["pid"] }, mold
    counted = ask(port, "/metrics")[/^http_server_request_duration_seconds_count\{[^}]*"200"[^}]*\} (\d+)/, 1]
    assert_operator counted.to_i, :>=, 20, "what it has served is not forgotten"
  end

  def test_what_makes_no_sense_is_one_line
    { "refork_after 0" => /refork_after must be numbers of requests above 0, not 0/,
      "refork_after [50, 'many']" => /many/ }.each do |words, reason|
      spawn_server("-w", "1", config: "rserve { #{words} }\n", wait: false)
      assert_exits 1
      assert_log reason
    end
    spawn_server("-w", "1", config: "fork_worker\nrserve { refork_after 50 }\n", wait: false)
    assert_exits 1
    assert_log(/refork_after and fork_worker are two ways/)
    spawn_server(config: "rserve { refork_after 50 }\n")
    assert_log(/! refork_after: no effect without workers/)
  end

  private

  def serve(config: "", counts: [5], more: nil, workers: 2, app: file("app.ru", APP))
    config = "workers #{workers}\nthreads 1, 2\nworker_check_interval 0.2\n#{config}" \
             "rserve { refork_after #{counts.inspect}; #{more} }\n"
    spawn_server(app:, config:, env: { "GATE" => @gate })
    workers.times { |index| assert_log(/Worker #{index} \(PID: \d+\) booted/) }
  end

  # Not before all workers have reported.
  def refork
    server.wait_until("a worker is chosen", 20) do
      server.signal(:URG)
      server.log.include?("and is to be the mold")
    end
  end

  def ask(port, path)
    TCPSocket.open("127.0.0.1", port) do |socket|
      socket.write("GET #{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      ResponseReader.new(socket).receive(timeout: 20).body
    end
  end

  # @return [Integer] how many requests the process that answers has served, or one that it comes of
  def warmth_at_fork = get("/").body.split[1].to_i

  # @return [Integer] the process that is the mold
  def mold
    server.wait_until("there is a mold", 20) do
      pids = Dir.children("/proc").grep(/\A\d+\z/).map(&:to_i)
      pids.find { |pid| title(pid).match?(/cluster mold: #{server.pid}\b/) }
    end
  end

  def title(pid)
    File.read("/proc/#{pid}/cmdline").tr("\0", " ").strip
  rescue SystemCallError
    ""
  end

  def alive?(pid) = !File.read("/proc/#{pid}/stat").match?(/\) Z /) rescue false # rubocop:disable Style/RescueModifier

  def assert_both_booted_in(phase)
    2.times { |index| assert_log(/Worker #{index} \(PID: \d+\) booted in [\d.]+s, phase: #{phase}/, timeout: 60) }
  end

  # Each mold runs both as often, but for the last one, which may be in the middle of it.
  def assert_even_hooks
    hooks = server.log.scan(/^(before|after)_refork in (\d+)$/).group_by(&:last).values
    assert_operator hooks.size, :>=, 3
    hooks[0...-1].each { |of_one| assert_equal 1, of_one.map(&:first).tally.values.uniq.size, of_one.inspect }
  end

  def assert_serving_from_child_of(pid)
    child = get("/").body.to_i
    assert_equal pid, File.read("/proc/#{child}/stat")[/.*\) \S (\d+)/m, 1].to_i
  end
end
