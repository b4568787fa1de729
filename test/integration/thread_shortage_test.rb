# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/bundles"

# A server that may make no more threads serves with those that it has.
class ThreadShortageTest < ServerCase
  include Bundles

  # Nobody else's, not even another run's, so that only the server's own processes and threads count.
  UID = 100_000 + Process.pid
  AS_USER = ["setpriv", "--reuid=#{UID}", "--clear-groups"].freeze

  APP = <<~'RUBY'
    run lambda { |env|
      sleep 0.2 if env["PATH_INFO"] == "/slow"
      [200, {}, [Process.pid.to_s]]
    }
  RUBY

  def setup
    super
    tools = system("which setpriv prlimit", out: File::NULL)
    skip "needs root, and setpriv and prlimit" unless Process.uid.zero? && tools
  end

  def test_it_goes_on_with_the_threads_there_are
    [[], %w[-w 2]].each do |mode|
      spawn_as_user("-t", "1:16", *mode)
      get("/")
      pids = server_pids
      allow(threads_of(pids) + 1)
      answers = at_once(24)
      assert_equal [200], answers.map(&:status).uniq, mode.to_s
      assert_equal pids, server_pids, "somebody died"
      assert_log(/! Cannot make another thread, \d+ serve: /)
      allow(threads_of(pids) + 64)
      few = threads_of(pids)
      server.wait_until("there are more threads again", 20) { at_once(16) && threads_of(pids) > few }
      # Once in each process.
      assert_operator server.log.scan("Cannot make another thread").size, :<=, 2 * [pids.size - 1, 1].max
    ensure
      server.stop
    end
  end

  # Not even one: those who ask are answered when there is one.
  def test_requests_wait_for_the_first_thread
    spawn_as_user("-t", "0:2")
    allow(threads_of(server_pids))
    client = server.connect
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert_log(/! Cannot make another thread, 0 serve: /)
    allow(1000)
    assert_equal 200, ResponseReader.new(client).receive.status
  ensure
    client&.close
  end

  # Which it handles in a thread of its own.
  def test_a_worker_lives_on_that_gets_a_signal
    spawn_as_user("-w", "1", "-t", "1:1")
    pid = Integer(get("/").body)
    allow(threads_of(server_pids))
    Process.kill(:HUP, pid)
    pending = -> { File.read("/proc/#{pid}/status")[/^ShdPnd:\s*(\h+)/, 1].hex }
    server.wait_until("it has taken HUP", 10) { pending.call.nobits?(1 << (Signal.list.fetch("HUP") - 1)) }
    5.times { assert_equal pid, Integer(get("/").body) }
  end

  # The application does what a shortage does, at the worst moment.
  def test_workers_that_die_as_soon_as_they_have_booted_are_tried_again_at_growing_intervals
    app = file("dies.ru", "Thread.new { sleep 0.05; exit! 1 }\nrun ->(_) { [200, {}, []] }\n")
    spawn_server "-w", "2", "-t", "1:1", app:, wait: false
    server.wait_until("the third attempt fails", 30) { server.log.scan(/had booted, next attempt in [24]s/).any? }
    assert_operator server.log.scan(/Worker \d \(PID: \d+\) (died|booted)/).size, :<, 20, server.log
  end

  def test_workers_that_cannot_make_their_threads_are_tried_again_at_growing_intervals
    spawn_as_user("-w", "2", "-t", "5:5", limit: 4, wait: false)
    server.wait_until("the third attempt fails", 30) { server.log.scan(/next attempt in [24]s/).any? }
    assert_operator server.log.scan(/Worker \d \(PID: \d+\) (died|booted)/).size, :<, 20, server.log
  end

  # As Ruby itself may where it lacks a thread. The worker no longer pings, and says no more.
  def test_a_worker_that_hangs_as_it_ends_is_killed_and_replaced
    app = file("hangs.ru", <<~'RUBY')
      at_exit { sleep if $0.include?("cluster worker") }
      run lambda { |env|
        Thread.main.raise(ThreadError, "can't create Thread") if env["PATH_INFO"] == "/die"
        [200, {}, [Process.pid.to_s]]
      }
    RUBY
    spawn_server "-w", "1", "-t", "1:1", app:, config: "worker_shutdown_timeout 1", wait: false
    server.wait_for_log(/Worker 0 \(PID: \d+\) booted/)
    pid = Integer(get("/").body)
    server.connect.tap { |it| it.write("GET /die HTTP/1.0\r\n\r\n") }.close
    server.wait_until("another worker boots", 30) { server.log.scan(/booted in/).size == 2 }
    refute_path_exists "/proc/#{pid}"
    refute_equal pid, Integer(get("/").body)
  end

  private

  def spawn_as_user(*arguments, limit: 1000, **options)
    app = file("app.ru", APP)
    FileUtils.chmod(0o755, File.dirname(app))
    port = UniquePort.call
    command = [*AS_USER, "prlimit", "--nproc=#{limit}:", RbConfig.ruby, "-Ilib", TestServer.rserve,
               "-b", "tcp://127.0.0.1:#{port}", "-C", "-", *arguments, app]
    # Without Bundler: Bundler 4 would touch the lock file, which is somebody else's.
    start_process(command, port:, env: { **unbundled, "HOME" => "/" }, **options)
    workers = arguments.join(" ")[/-w (\d)/, 1].to_i
    return unless options[:wait] != false

    server.wait_until("workers have booted", 20) do
      server.log.scan(/booted in/).size == workers
    end
  end

  # The server's process and its workers.
  def server_pids
    children = File.read("/proc/#{server.pid}/task/#{server.pid}/children").split.map(&:to_i)
    [server.pid, *children]
  end

  def threads_of(pids) = pids.sum { |pid| Dir.children("/proc/#{pid}/task").size }

  # So many processes and threads, all of the user's together.
  def allow(count)
    server_pids.each { |pid| assert system(*AS_USER, "prlimit", "--pid", pid.to_s, "--nproc=#{count}:") }
  end

  def at_once(count)
    clients = Array.new(count) { server.connect.tap { |it| it.write("GET /slow HTTP/1.0\r\n\r\n") } }
    clients.map { |client| ResponseReader.new(client).receive(timeout: 30) }
  ensure
    clients&.each(&:close)
  end
end
