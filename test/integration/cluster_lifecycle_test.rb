# frozen_string_literal: true

require "json"
require_relative "../helpers/server_case"

# What a cluster tells of its life: hooks, events, titles, log lines, and the workers that gems look for.
class ClusterLifecycleTest < ServerCase
  parallelize_me!

  HOOKS = <<~'RUBY'
    say = ->(what) { $stdout.syswrite("#{Process.pid} #{what}\n") }
    before_fork { say["before_fork"] }
    on_worker_fork { |index| say["before_worker_fork #{index}"] }
    after_worker_fork { |index| say["after_worker_fork #{index}"] }
    on_worker_boot { |index| say["before_worker_boot #{index}"] }
    on_booted { say["booted"] }
    on_worker_shutdown { |index| say["before_worker_shutdown #{index}"] }
    after_worker_shutdown { |worker| say["after_worker_shutdown #{worker.index} #{worker.process_status.success?}"] }
    on_stopped { say["stopped"] }
  RUBY

  def test_hooks_run_in_order_and_where_they_belong
    spawn_server "-w", "1", config: HOOKS
    assert_log(/ booted$/)
    server.signal(:INT)
    assert_exits 0
    worker = server.log[/Worker 0 \(PID: (\d+)\)/, 1]
    assert_equal [
      "master before_fork", "master before_worker_fork 0", "master after_worker_fork 0", "master booted",
      "master after_worker_shutdown 0 true", "master stopped"
    ], said_by(server.pid, "master")
    assert_equal ["worker before_worker_boot 0", "worker before_worker_shutdown 0"], said_by(worker, "worker")
  end

  def test_worker_0_runs_the_refork_hooks_once_for_each_refork
    spawn_server "-w", "3", config: <<~RUBY
      fork_worker 0
      on_refork { $stdout.syswrite("before_refork\n") }
      after_refork { $stdout.syswrite("after_refork\n") }
    RUBY
    3.times { |index| server.wait_for_log(/Worker #{index} .* booted/) }
    server.signal(:URG)
    [1, 2].each { |index| server.wait_for_log(/Worker #{index} .* booted .* phase: 1/) }
    assert_log(/after_refork/)
    assert_serving
    assert_equal %w[before_refork after_refork], server.log.scan(/^(?:before|after)_refork$/)
    assert_equal 1, server.log.scan(/Worker 0 .* booted/).size
  end

  def test_no_refork_leaves_descriptors_behind
    skip_unless :linux
    spawn_server "-w", "2", config: "fork_worker 0\n"
    2.times { |index| server.wait_for_log(/Worker #{index} .* booted/) }
    none = polls_of(server.pid) # Ruby has one itself from 3.3 on
    server.wait_until("worker 0 polls", 10) { polls_of(worker(0)) > none }
    assert_serving
    one = polls_of(worker(0)) - none
    polls = (1..6).map do |phase|
      server.signal(:URG)
      server.wait_for_log(/Worker 1 .* booted .* phase: #{phase}/)
      [polls_of(worker(0)), polls_of(worker(1))]
    end
    # The one that serves, the one that did before, and one that the garbage collector takes for live.
    assert_operator polls.last.max, :<=, none + (3 * one), "after each refork: #{polls}"
  end

  # Inherits the workers that outlive worker 0, and asks for the status of none but the server.
  NEGLIGENT = <<~'RUBY'
    prctl = RUBY_PLATFORM.start_with?("aarch64") ? 167 : 157
    abort "no reaper" unless syscall(prctl, 36, 1, 0, 0, 0).zero? # PR_SET_CHILD_SUBREAPER
    server = Process.spawn(*ARGV)
    trap(:INT) { Process.kill(:INT, server) }
    exit Process.wait2(server).last.exitstatus
  RUBY

  def test_workers_of_worker_0_need_nobody_who_asks_for_their_status
    skip_unless :linux
    port = UniquePort.call
    start_process([RbConfig.ruby, "-e", NEGLIGENT, RbConfig.ruby, "-Ilib", TestServer.rserve, "-C",
                   file("config.rb", "fork_worker 0\nworkers 2\nworker_shutdown_timeout 60\n"),
                   "-b", "tcp://127.0.0.1:#{port}", "test/rackup/hello.ru"], port:)
    2.times { |index| server.wait_for_log(/Worker #{index} .* booted/) }
    server.signal(:INT)
    assert_exits 0
  end

  def test_gems_find_the_workers_and_may_end_them
    spawn_server "-w", "2", config: <<~'RUBY'
      on_booted do
        cluster = ObjectSpace.each_object(Puma::Cluster).first
        workers = cluster.instance_variable_get(:@workers)
        $stdout.syswrite("found #{workers.map { |worker| [worker.index, worker.pid] }}\n")
        workers.first.term
      end
    RUBY
    found = server.wait_for_log(/found \[\[0, (\d+)\], \[1, (\d+)\]\]/).captures
    assert_equal found.sort, server.log.scan(/Worker \d \(PID: (\d+)\) booted/).flatten.first(2).sort
    server.wait_until("worker 0 is replaced", 10) { server.log.scan(/Worker 0 .* booted/).size == 2 }
  end

  def test_gems_may_act_before_the_workers_are_told_to_stop
    spawn_server "-w", "1", config: <<~'RUBY'
      require "puma/cluster"
      Puma::Cluster.prepend(Module.new do
        def stop_workers
          $stdout.syswrite("status #{@status.inspect}, alive #{@workers.all? { |worker| Process.kill(0, worker.pid) }}\n")
          super
        end
      end)
    RUBY
    server.wait_for_log(/Worker 0 .* booted/)
    server.signal(:INT)
    assert_exits 0
    assert_match(/status :stop, alive true\n.*- Gracefully shutting down workers/m, server.log)
  end

  def test_processes_have_puma_s_titles
    skip_unless :linux
    spawn_server "-w", "1", "--tag", "shop"
    worker = server.wait_for_log(/Worker 0 \(PID: (\d+)\)/)[1]
    assert_match(/\Arserve \d\S+ as Puma 6\.6\.0 \(tcp:[^)]+\) \[shop\]/, title(server.pid))
    assert_match(/\Arserve: cluster worker 0: #{server.pid} \[shop\]/, title(worker))
  end

  # As New Relic's agent, Scout's and GitLab's exporter look for Puma.
  LOOKS = <<~'RUBY'
    known = lambda do
      [defined?(Puma) && File.basename($0) == "puma", File.basename($0).start_with?("puma"), $0[/puma: cluster worker (\d+)/, 1]]
    end
    loaded = known.call
    run ->(_) { [200, {}, [[loaded, known.call].inspect]] }
  RUBY

  def test_gems_that_look_for_puma_in_the_name_of_the_process_may_find_it
    app = file("config.ru", LOOKS)
    config = "rserve { process_name :puma }\n"
    at_boot = [true, true, nil]
    spawn_server(config:, app:)
    assert_equal [at_boot, at_boot].inspect, get("/").body
    hot_restart
    assert_equal [at_boot, at_boot].inspect, get("/").body
    spawn_server("-w", "1", "--preload", config:, app:)
    server.wait_for_log(/booted/)
    assert_equal [at_boot, [false, true, "0"]].inspect, get("/").body
    assert_match(/\Apuma 6\.6\.0 \(tcp:/, title(server.pid))
    assert_log(/rserve version: .* as Puma 6\.6\.0/)
    assert get("/")["Date"], "it answers as ever"
    spawn_server("-w", "1", app:)
    server.wait_for_log(/booted/)
    assert_equal [[false, false, nil]] * 2, JSON.parse(get("/").body.gsub("nil", "null"))
  end

  # Exporters of statistics look for the number in $0, and for a process that has workers.
  def test_a_worker_knows_its_name_and_has_no_workers
    spawn_server "-w", "2", app: file("config.ru", <<~RUBY)
      run ->(_) { [200, {}, [[$0, *Puma.stats_hash.values_at(:workers, :booted_workers, :worker_status)].inspect]] }
    RUBY
    2.times { |index| server.wait_for_log(/Worker #{index} .* booted/) }
    assert_match(/\A\["(puma|rserve): cluster worker [01]: #{server.pid} .*", 0, 0, \[\]\]\z/, get("/").body)
  end

  def test_a_phased_restart_enters_the_release_that_the_symlink_names_now
    skip_unless :linux
    root = folder
    %w[one two].each do |release|
      FileUtils.mkdir(File.join(root, release))
      File.write(File.join(root, release, "config.ru"), "run ->(_) { [200, {}, [#{release.dump}]] }\n")
    end
    File.symlink("one", current = File.join(root, "current"))
    spawn_server "-w", "1", app: nil, chdir: current, env: { "PWD" => current }
    server.wait_for_log(/booted/)
    assert_serving "one"

    File.unlink(current)
    File.symlink("two", current)
    server.signal(:USR1)
    worker = server.wait_for_log(/Worker 0 \(PID: (\d+)\) booted .* phase: 1/)[1]
    assert_serving "two"
    assert_match(/\[two\]/, title(server.pid))
    assert_match(/\[two\]/, title(worker))
  end

  def test_children_that_nobody_waits_for_are_reaped_and_those_that_somebody_does_are_not
    spawn_server "-w", "1", config: <<~'RUBY'
      before_fork do
        Process.spawn("exit 3")
        waited = Process.detach(Process.spawn("exit 4"))
        Thread.new { $stdout.syswrite("waited for #{waited.value.exitstatus}\n") }
      end
    RUBY
    assert_log(/waited for 4/)
    assert_log(/! reaped unknown child process pid=(\d+) status=pid \1 exit 3/)
    refute_log(/reaped .* exit 4/)
  end

  def test_threads_of_a_preloaded_app_are_warned_of
    app = file("threads.ru", <<~RUBY)
      Thread.new { sleep }
      Thread.new { sleep }.thread_variable_set(:fork_safe, true)
      run ->(_) { [200, {}, []] }
    RUBY
    spawn_server "-w", "2", "--preload", app: app
    assert_log(/! WARNING: Detected 1 Thread\(s\) started in app boot:\n.*#<Thread/)
  end

  def test_term_ends_a_worker_that_is_still_booting
    spawn_server "-w", "1", config: "on_worker_boot { $stdout.syswrite(\"booting\\n\"); sleep }"
    assert_log(/booting/)
    server.signal(:TERM)
    assert_exits :TERM
    assert_log(/Early termination of worker/)
  end

  def test_a_worker_ends_by_term_also_when_its_app_has_trapped_it
    spawn_server "-w", "1", config: "on_worker_boot { trap(:TERM) { $stdout.syswrite(\"mine\\n\") } }"
    server.wait_for_log(/booted/)
    server.signal(:TERM)
    assert_exits :TERM
    refute_log(/mine/)
  end

  def test_term_in_the_middle_of_a_hot_restart_ends_the_server
    [[], %w[-w 2]].each do |arguments|
      spawn_server(*arguments, config: signal_in_restart_hook(:TERM))
      server.signal(:USR2)
      assert_exits :TERM
    end
  end

  def test_a_preloaded_application_is_warmed_up_before_the_first_fork_when_asked_for
    warm_up = "before_fork { def Process.warmup = warn('warmed up by ' + Process.pid.to_s) }"
    [["preload_app!", false], ["preload_app! false\nrserve { process_warmup }", false],
     ["preload_app!\nrserve { process_warmup }", true]].each do |words, warmed|
      spawn_server "-w", "2", config: "#{words}\n#{warm_up}"
      2.times { |index| server.wait_for_log(/Worker #{index} .*booted/) }
      assert_equal warmed ? ["warmed up by #{server.pid}"] : [], server.log.scan(/warmed up by \d+/), words
    end
  end

  def test_what_is_preloaded_is_old_to_the_collector_of_a_worker
    path = file("app.ru", <<~RUBY)
      require "objspace"
      loaded = Object.new
      run ->(_) { [200, {}, [ObjectSpace.dump(loaded)]] }
    RUBY
    { "preload_app!" => true, "preload_app! false" => false }.each do |words, old|
      spawn_server "-w", "1", config: words, app: path
      assert_equal old, JSON.parse(get("/").body)["flags"].fetch("old", false), words
    end
  end

  # Plugins stop the server when what they watch is gone, and a hook of theirs has just ended it.
  def test_int_from_a_hook_of_a_hot_restart_is_no_stop
    [[], %w[-w 2]].each do |arguments|
      spawn_server(*arguments, config: signal_in_restart_hook(:INT))
      hot_restart
      assert_serving
    end
  end

  def test_signals_in_the_middle_of_a_hot_restart_neither_end_nor_stop_the_server
    spawn_server "-w", "1",
                 config: "on_restart { %i[USR2 USR1 TTIN TTOU].each { |name| Process.kill(name, Process.pid) } }"
    mark = server.mark
    server.signal(:USR2)
    pester = Thread.new do
      loop { %i[USR2 USR1 TTIN TTOU].each { |name| server.signal(name) } && sleep(0.001) }
    end
    server.wait_for_log(/Restarting\.\.\./, after: mark)
    server.wait_for_log(/Ctrl-C/, after: mark)
    pester.kill.join
    server.wait_until("it answers", 20) { get("/", timeout: 1).status == 200 rescue false } # rubocop:disable Style/RescueModifier
  end

  private

  def signal_in_restart_hook(name) = <<~RUBY
    on_restart do
      Process.kill(#{name.inspect}, Process.pid)
      sleep 0.1 # for the thread that handles it
    end
  RUBY

  # @return [String] pid of the worker that booted last
  def worker(index) = server.log.scan(/Worker #{index} \(PID: (\d+)\) booted/).last.first

  # @return [Integer] epoll instances that the process has open
  def polls_of(pid)
    Dir["/proc/#{pid}/fd/*"].count { |fd| File.readlink(fd) == "anon_inode:[eventpoll]" rescue false } # rubocop:disable Style/RescueModifier
  end

  def said_by(pid, name) = server.log.scan(/^#{pid} (.*)/).map { |what,| "#{name} #{what}" }

  def title(pid) = File.read("/proc/#{pid}/cmdline").delete("\0").strip
end
