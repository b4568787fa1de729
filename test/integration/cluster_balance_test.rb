# frozen_string_literal: true

require_relative "../helpers/server_case"

# Who of the workers gets a connection, and when one that cannot start is tried again. One test at a time: a worker that
# the others keep from its processor for 50 ms is taken for stuck, and rightly.
class ClusterBalanceTest < ServerCase
  PID = "test/rackup/sleep_pid.ru"
  CRASH = "raise 'no'\n"

  def test_keep_alive_connections_are_split_between_the_workers
    spawn_cluster
    10.times do |run|
      pids = answered_by(20)
      assert_operator pids.tally.values.max, :<=, 12, "run #{run}: #{pids.tally}"
      assert_equal 2, pids.uniq.size
    end
  end

  def test_a_stopped_worker_gets_no_connection
    skip_unless :linux
    spawn_cluster
    stopped, other = worker_pids
    server.suspend(stopped)
    pids = Array.new(50) { pid_of(get("/")) }
    assert_equal [other], pids.uniq
  ensure
    Process.kill(:CONT, stopped) if stopped
  end

  def test_a_worker_whose_threads_all_hang_gets_no_connection
    starts = folder
    spawn_cluster "-t", "2:2", app: hanging_app(starts), config: "worker_shutdown_timeout 1"
    sockets = Array.new(3) { |number| hang(number, starts) }
    hung, = Array.new(3) { |number| Integer(File.read(File.join(starts, number.to_s))) }.tally.max_by(&:last)
    pids = Array.new(50) { pid_of(get("/")) }
    refute_includes pids, hung
  ensure
    sockets&.each(&:close)
  end

  # Nothing has been asked for since its threads hang.
  def test_the_first_request_on_a_kept_connection_does_not_wait_for_threads_that_hang
    starts = folder
    spawn_cluster "-t", "1:1", app: hanging_app(starts), config: "worker_shutdown_timeout 1"
    clients = Array.new(4) { Client.new(server.connect) }
    hung, (kept, one_that_hangs) = clients.group_by { |client| pid_of(client.get) }.find { |_, those| those.size > 1 }
    one_that_hangs.socket.write("GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    path = File.join(starts, "hangs")
    server.wait_until("it hangs", 10) { File.exist?(path) && File.read(path) == hung.to_s }
    sleep 0.2 # how long it hangs is what is tested
    refute_equal hung, pid_of(kept.get)
  ensure
    clients&.each(&:close)
  end

  # It would get a thread of its own after 25 ms, and take turns with it.
  def test_a_request_on_a_kept_connection_does_not_wait_for_a_thread_that_computes
    starts = folder
    gate = File.join(starts, "gate")
    spawn_cluster app: computing_app(starts, gate)
    clients = Array.new(4) { Client.new(server.connect) }
    pid, (kept, busy) = clients.group_by { |client| pid_of(client.get) }.find { |_, those| those.size > 1 }
    busy.socket.write("GET /computes HTTP/1.1\r\nHost: localhost\r\n\r\n")
    path = File.join(starts, "computes")
    server.wait_until("it computes", 10) { File.exist?(path) && File.read(path) == pid.to_s }
    # At once, unless one of them does not get a processor for a while.
    server.wait_until("the other worker has the connection", 5) { pid_of(kept.get) != pid }
    FileUtils.touch(gate)
    assert_equal pid, pid_of(busy.receive)
  ensure
    FileUtils.touch(gate) if gate
    clients&.each(&:close)
  end

  def test_pages_have_a_worker_to_themselves_while_the_other_serves_an_upload
    gate = File.join(folder, "gate")
    spawn_cluster app: file("upload.ru", <<~RUBY)
      run lambda { |env|
        if env["REQUEST_METHOD"] == "PUT"
          warn "upload begun"
          sleep 0.01 until File.exist?(#{gate.dump})
        end
        [200, {}, [Process.pid.to_s]]
      }
    RUBY
    clients = Array.new(3) { Client.new(server.connect) }
    pid, (page, upload) = clients.group_by { |client| pid_of(client.get) }.max_by { |_, those| those.size }
    upload.ask("PUT", "x" * 2_000_000)
    assert_log(/upload begun/)
    server.wait_until("the other worker has the page's connection", 5) { pid_of(page.get) != pid }
    refute_includes Array.new(20) { pid_of(page.get) }, pid
    FileUtils.touch(gate)
    assert_equal pid, pid_of(upload.receive)
  ensure
    clients&.each(&:close)
  end

  def test_a_worker_that_joins_gets_its_share_of_the_connections
    spawn_server("-w", "1", app: PID)
    clients = Array.new(20) { Client.new(server.connect) }
    assert_equal 1, clients.map { |client| pid_of(client.get) }.uniq.size
    server.signal(:TTIN)
    server.wait_for_log(/- Worker 1 .* booted/)
    pids = []
    server.wait_until("the connections are shared", 10) do
      pids.replace(clients.map { |client| pid_of(client.get) })
      pids.tally.values.max <= 14
    end
    assert_equal 2, pids.uniq.size
  ensure
    clients&.each(&:close)
  end

  def test_a_worker_that_cannot_boot_is_tried_again_at_growing_intervals
    spawn_server "-w", "1", app: file("crash.ru", CRASH), wait: false
    server.wait_until("the third attempt fails", 20) { deaths.size >= 3 }
    assert_equal %w[0 1 2], deaths.first(3)
  end

  # A connection that is kept.
  Client = Struct.new(:socket) do
    def ask(method, body)
      socket.write("#{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}")
    end

    def get
      ask("GET", "")
      receive
    end

    def receive = (@reader ||= ResponseReader.new(socket)).receive(timeout: 10)

    def close = socket.close
  end

  private

  # What has a name never ends.
  def hanging_app(starts)
    file("hang.ru", <<~RUBY)
      run lambda { |env|
        name = env["PATH_INFO"].delete("/")
        unless name.empty?
          File.write(File.join(#{starts.dump}, name), Process.pid)
          sleep
        end
        [200, {}, [Process.pid.to_s]]
      }
    RUBY
  end

  # What has a name computes until the file `gate` is there, and says so after a while.
  def computing_app(starts, gate)
    file("computes.ru", <<~RUBY)
      run lambda { |env|
        name = env["PATH_INFO"].delete("/")
        unless name.empty?
          enough = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 0.1
          1_000.times { } until Process.clock_gettime(Process::CLOCK_MONOTONIC) > enough
          File.write(File.join(#{starts.dump}, name), Process.pid)
          100_000.times { } until File.exist?(#{gate.dump})
        end
        [200, {}, [Process.pid.to_s]]
      }
    RUBY
  end

  def spawn_cluster(*arguments, app: PID, **options)
    spawn_server("-w", "2", *arguments, app:, **options)
    server.wait_until("both workers have booted", 20) { booted.size == 2 }
  end

  # @return [Array<Array(String, String)>] index and pid of each worker that said it booted
  def booted = server.log.scan(/- Worker (\d+) \(PID: (\d+)\) booted/)

  # @return [Array<Integer>] by index
  def worker_pids = booted.to_h.sort.map { |_, pid| Integer(pid) }

  # @return [Array<String>] seconds to the next attempt, of each worker that died before it had booted
  def deaths = server.log.scan(/died before it had booted, next attempt in (\d+)s/).flatten

  def pid_of(response) = Integer(response.body[/\d+\z/])

  # Opens `count` connections one after the other, and keeps them open until all have been answered.
  # @return [Array<Integer>] the pids that answered
  def answered_by(count)
    sockets = []
    Array.new(count) do
      sockets << server.connect
      sockets.last.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      pid_of(ResponseReader.new(sockets.last).receive(timeout: 5))
    end
  ensure
    sockets.each(&:close)
  end

  # Sends a request that hangs, and waits until it does.
  # @return [Socket]
  def hang(name, starts)
    socket = server.connect
    socket.write("GET /#{name} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    server.wait_until("request #{name} has reached the app", 10) { File.size?(File.join(starts, name.to_s)) }
    socket
  end
end
