# frozen_string_literal: true

require_relative "../helpers/server_case"

# Who of the workers gets a connection, and when one that cannot start is tried again.
class ClusterBalanceTest < ServerCase
  parallelize_me!

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
    Process.kill(:STOP, stopped)
    server.wait_until("the worker has stopped", 10) { File.read("/proc/#{stopped}/stat")[/\) (\w)/, 1] == "T" }
    pids = Array.new(50) { pid_of(get("/")) }
    assert_equal [other], pids.uniq
  ensure
    Process.kill(:CONT, stopped) if stopped
  end

  def test_a_worker_whose_threads_all_hang_gets_no_connection
    starts = folder
    app = file("hang.ru", <<~RUBY)
      run lambda { |env|
        name = env["PATH_INFO"].delete("/")
        unless name.empty?
          File.write(File.join(#{starts.dump}, name), Process.pid)
          sleep
        end
        [200, {}, [Process.pid.to_s]]
      }
    RUBY
    spawn_cluster "-t", "2:2", app:, config: "worker_shutdown_timeout 1"
    sockets = Array.new(3) { |number| hang(number, starts) }
    hung, = Array.new(3) { |number| Integer(File.read(File.join(starts, number.to_s))) }.tally.max_by(&:last)
    pids = Array.new(50) { pid_of(get("/")) }
    refute_includes pids, hung
  ensure
    sockets&.each(&:close)
  end

  def test_a_worker_that_cannot_boot_is_tried_again_at_growing_intervals
    spawn_server "-w", "1", app: file("crash.ru", CRASH), wait: false
    server.wait_until("the third attempt fails", 20) { deaths.size >= 3 }
    assert_equal %w[0 1 2], deaths.first(3)
  end

  private

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
