# frozen_string_literal: true

require_relative "../helpers/server_case"

# As process 1 of a container, where signals without a trap do nothing and orphans come to the server.
class FirstProcessTest < ServerCase
  parallelize_me!

  # Linux does not let process 1 die by a signal: Ruby, which tries to, ends with this.
  STATUS_AFTER_TERM = 1

  ORPHAN = <<~'RUBY'
    run(lambda do |_env|
      reader, writer = IO.pipe
      Process.wait(fork { fork { writer.puts Process.pid } })
      writer.close
      [200, {}, [reader.read]]
    end)
  RUBY

  # @return [ServerProcess] the server's first process is process 1 there, and {#first} here
  def start_contained(*arguments, app: "test/rackup/hello.ru")
    skip "only root may make a pid namespace" unless Process.uid.zero?
    port = UniquePort.call
    start_process(["unshare", "--pid", "--fork", "--mount-proc", RbConfig.ruby, "-Ilib", TestServer.rserve, "-C", "-",
                   "-b", "tcp://127.0.0.1:#{port}", *arguments, app], port:, chdir: TestServer::ROOT)
  end

  def first = children(server.pid).first

  def children(pid) = Dir["/proc/#{pid}/task/*/children"].flat_map { |path| File.read(path).split.map(&:to_i) }

  # The server is not our child, so it cannot end with the test but by this.
  def teardown
    @servers.each { |server| Process.kill(:KILL, *children(server.pid)) unless server.exited? }
    super
  end

  def test_term_and_int_stop_it_after_the_last_request
    [[], %w[-w 2]].product([[:TERM, STATUS_AFTER_TERM], [:INT, 0]]) do |arguments, (signal, status)|
      start_contained(*arguments, app: "rackup/slow.ru")
      server.exchange("GET /sleep/1 HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader|
        get("/sleep/0")
        Process.kill(signal, first)
        assert_equal "sleep 1\n", reader.receive.body
      end
      assert_exits status
      assert_log(/- Gracefully/)
    end
  end

  def test_restarts_in_place
    start_contained
    assert_equal 1, inner_pid(first)
    mark = server.mark
    Process.kill(:USR2, first)
    server.wait_for_log(/Ctrl-C/, after: mark)
    assert_serving
  end

  def test_master_buries_orphans
    start_contained("-w", "1", app: file("orphan.ru", ORPHAN))
    orphan = Integer(get("/").body)
    master = first
    server.wait_until("the master has buried process #{orphan}", 10) do
      children(master).none? { |pid| inner_pid(pid) == orphan }
    end
  end

  private

  # What the process is called in there.
  def inner_pid(pid)
    File.read("/proc/#{pid}/status")[/^NSpid:.*\s(\d+)$/, 1].to_i
  rescue Errno::ENOENT, Errno::ESRCH
    nil # it is gone
  end
end
