# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/client_load"

# Workers that are replaced though they do nothing wrong: the replacement boots first, and no client notices.
class RetirementTest < ServerCase
  # Each request to /leak keeps a megabyte for ever.
  LEAK = <<~'RUBY'
    kept = []
    run lambda { |env|
      kept << ("x" * (1 << 20)) if env["PATH_INFO"] == "/leak"
      [200, {}, ["#{Process.pid} #{$0}"]]
    }
  RUBY

  def test_a_leaking_application_loses_workers_and_no_request
    skip_unless :linux
    spawn_server "-w", "2", "-t", "2", "--preload", app: file("leak.ru", LEAK), config: <<~RUBY
      worker_check_interval 0.5
      rserve { worker_max_memory "60M", samples: 2, every: 0.05 }
    RUBY
    wait_for_workers 2
    load = ClientLoad.new(server, fresh: 3, target: "/leak", pause: 0.01)
    most = 0
    server.wait_until("ten workers are replaced", 60) do
      most = [most, workers.size].max
      server.log.scan("TERM sent to").size >= 10
    end
    results = load.stop
    assert_equal ["answered"], results.keys, results.inspect
    assert_match(/- Worker \d \(PID: \d+\) is replaced: it has \d+ MB of memory, more than 60 MB/, server.log)
    assert_operator most, :<=, 3, "one more than asked for, while one is replaced"
  end

  # The worker's connections are kept until it ends; its clients are told that they close.
  def test_clients_that_keep_their_connections_are_told_that_these_close
    spawn_server "-w", "2", "-t", "2", "--preload", config: <<~RUBY
      worker_check_interval 0.1
      rserve { max_requests 100, jitter: 0.5 }
    RUBY
    wait_for_workers 2
    load = ClientLoad.new(server, keep_alive: 3, pause: 0.002)
    server.wait_until("four workers are replaced", 60) { server.log.scan("TERM sent to").size >= 4 }
    results = load.stop
    # What a client sends on an idle connection while the server closes it is nobody's fault (RFC 9112 §9.6).
    lost = results.except("answered").reject { |what, _| what.match?(/\Akeep-alive: (EOFError|Errno::)/) }
    assert_empty lost, results.inspect
    assert_match(/is replaced: it has served \d+ requests/, server.log)
    assert_match(/- Stopping (\d+), its replacement serves\.\.\.\n.*- TERM sent to \1\.\.\.$/, server.log)
  end

  def test_a_worker_lives_as_long_as_it_may_and_its_replacement_has_its_index
    spawn_server "-w", "1", "--preload", config: <<~'RUBY'
      worker_check_interval 0.1
      rserve { worker_lifetime 1, jitter: 0 }
      on_worker_boot { |index| $stdout.syswrite("boots #{index}\n") }
      on_worker_shutdown { |index| $stdout.syswrite("shuts down #{index}\n") }
    RUBY
    server.wait_until("two are replaced", 30) { server.log.scan(/^shuts down 0$/).size >= 2 }
    assert_operator server.log.scan(/^boots 0$/).size, :>=, 3
    told = server.log.scan(/Worker 0 .* is replaced: it is \d+\.\d+s old|^boots 0|Stopping|^shuts down 0/)
    assert_equal "boots 0", told.shift
    assert_match(/old/, told.shift)
    assert_equal ["boots 0", "Stopping", "shuts down 0"], told.first(3)
  end

  def test_a_worker_serves_on_while_its_replacement_cannot_boot
    flag = File.join(folder, "broken")
    spawn_server "-w", "1", config: <<~RUBY
      worker_check_interval 0.1
      rserve { max_requests 5, jitter: 0 }
      on_worker_boot { exit!(3) if File.exist?(#{flag.dump}) }
    RUBY
    first = server.wait_for_log(/Worker 0 \(PID: (\d+)\) booted/)[1]
    File.write(flag, "")
    server.wait_until("it is to be replaced", 20) { assert_serving && server.log.include?("is replaced") }
    server.wait_for_log(/died before it had booted, next attempt in 1s: exit 3/)
    assert_serving
    refute_log(/TERM sent/)
    File.unlink(flag)
    server.wait_for_log(/TERM sent to #{first}/)
    assert_serving
  end

  def test_worker_0_is_replaced_as_the_one_that_forks_the_others
    app = file("forks.ru", "run ->(_) { [200, {}, [$0[/worker (\\d)/, 1]]] }")
    spawn_server("-w", "2", "-t", "1", app:, config: <<~RUBY)
      fork_worker 0
      worker_check_interval 0.1
      rserve { max_requests 30, jitter: 0 }
    RUBY
    wait_for_workers 2
    first = [0, 1].map { |index| server.log[/Worker #{index} \(PID: (\d+)\) booted/, 1] }
    load = ClientLoad.new(server, fresh: 2, pause: 0.002)
    server.wait_until("both are replaced", 60) { first.all? { |pid| server.log.include?("TERM sent to #{pid}") } }
    results = load.stop
    assert_equal ["answered"], results.keys, results.inspect
    mark = server.mark
    server.signal(:TTIN)
    server.wait_for_log(/Worker 2 .* booted/, after: mark)
  end

  def test_a_limit_that_leaves_no_room_is_told_and_kills_nobody
    skip_unless :linux
    spawn_server "-w", "2", config: <<~RUBY
      worker_check_interval 0.1
      rserve { worker_max_memory "2M", samples: 1, every: 0.05 }
    RUBY
    assert_log(/! worker_max_memory of 2 MB is not used: worker \d \(PID: \d+\) has \d+ MB as soon as it has booted/)
    10.times { assert_serving }
    assert_equal 1, server.log.scan("worker_max_memory").size
    refute_log(/is replaced|TERM sent/)
  end

  def test_more_than_the_hard_limit_ends_a_worker_at_once
    skip_unless :linux
    spawn_server "-w", "2", "--preload", app: file("leak.ru", LEAK), config: <<~RUBY
      worker_check_interval 0.1
      rserve { worker_max_memory "80M", samples: 1000, every: 0.05, hard: "90M" }
    RUBY
    wait_for_workers 2
    server.wait_until("it has far too much", 60) do
      get("/leak")
      server.log.include?("the hard limit of 90 MB")
    end
    pid = server.log[/Worker \d \(PID: (\d+)\) has \d+ MB of memory, more than the hard limit/, 1]
    index = server.log[/Worker (\d) \(PID: #{pid}\) has/, 1]
    server.wait_until("it is replaced", 20) { server.log.scan(/Worker #{index} .* booted/).size >= 2 }
  end

  def test_without_workers_the_words_have_no_effect
    spawn_server config: "rserve { max_requests 1; worker_lifetime 1; worker_max_memory '1M' }"
    assert_log(/^! worker_max_memory, max_requests, worker_lifetime: no effect without workers$/)
    3.times { assert_serving }
  end

  private

  def wait_for_workers(count)
    count.times { |index| server.wait_for_log(/Worker #{index} .* booted/) }
  end

  # Processes that the master has forked and not yet buried.
  def workers
    Dir["/proc/[0-9]*/stat"].select do |path|
      File.read(path).rpartition(")").last.split[1].to_i == server.pid
    rescue SystemCallError
      false # it ended meanwhile
    end
  end
end
