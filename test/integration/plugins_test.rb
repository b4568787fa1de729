# frozen_string_literal: true

require_relative "../helpers/server_case"

# Plugins that were written for Puma, unchanged: in test/plugins, in the shapes that well-known gems have.
class PluginsTest < ServerCase
  parallelize_me!

  MODES = { "single" => 0, "cluster" => 2 }.freeze

  MODES.each do |mode, workers|
    [6, 8].each do |level|
      define_method("test_supervisor_lives_and_ends_with_the_server_in_#{mode}_mode_at_level_#{level}") do
        spawn_with("queue_supervisor", workers:, before: "puma_compat #{level}", after: "queue_supervisor_mode :fork")
        supervisor = supervisor_pid
        hot_restart
        # The plugin's own watching thread may be the one that reaps it.
        assert_log(/supervisor (stopped|was gone)\n.*supervisor \d+ of #{server.pid} runs/m)
        refute_alive supervisor
        mark = server.mark
        supervisor = supervisor_pid
        server.signal(:INT)
        assert_exits 0
        server.wait_for_log(/supervisor (stopped|was gone)/, after: mark)
        refute_alive supervisor
      end
    end

    define_method("test_server_ends_when_its_supervisor_does_in_#{mode}_mode") do
      spawn_with("queue_supervisor", workers:, after: "queue_supervisor_mode :fork")
      Process.kill(:KILL, supervisor_pid)
      assert_exits 0
      assert_log(/supervisor has gone, stopping the server/)
    end

    define_method("test_watcher_forked_before_the_server_listens_in_#{mode}_mode") do
      spawn_with("css_watcher", workers:)
      assert_log(/watcher \d+ runs/)
      watcher = server.log[/watcher (\d+) runs/, 1].to_i
      assert_serving
      server.signal(:INT)
      assert_exits 0
      refute_alive watcher
    end

    define_method("test_metrics_by_a_server_of_its_own_in_#{mode}_mode") do
      metrics = UniquePort.call
      control = UniquePort.call
      spawn_with("metrics", workers:, before: "threads 1, 3", after: <<~RUBY)
        metrics_url "tcp://127.0.0.1:#{metrics}"
        activate_control_app "tcp://127.0.0.1:#{control}", auth_token: "secret"
      RUBY
      assert_log(/Metrics on/)
      wanted = Array.new([workers, 1].max) { |index| "puma_max_threads{index=\"#{index}\"} 3\n" }.join
      server.wait_until("the metrics are #{wanted.inspect}", 10) { read_metrics(metrics) == wanted }
      assert_serving
      server.signal(:INT)
      assert_exits 0
    end
  end

  # `$$` and `Process.ppid` are what the plugin expects: the process in which it began, and which is the parent of what
  # it forks, is the generation's master.
  def test_supervisor_goes_with_each_generation_of_a_server_that_has_a_keeper
    gate = File.join(folder, "gate")
    app = file("app.ru", serving = <<~RUBY)
      run lambda { |env|
        sleep 0.01 until env["PATH_INFO"] == "/" || File.exist?(#{gate.dump})
        [200, {}, ["Hello World"]]
      }
    RUBY
    before = "preload_app!\nrserve { overlap_restart; restart_settle 0 }"
    # Of two workers one would have to go first, and that one may have the request that waits.
    spawn_with("queue_supervisor", workers: 1, app:, before:, after: "queue_supervisor_mode :fork")
    assert_log(/supervisor \d+ of \d+ runs/)
    first, master = supervisors.last
    waits = server.connect.tap { |socket| socket.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") }
    server.signal(:USR2)
    assert_log(/Generation 2 serves/)
    server.wait_until("the other one's supervisor runs", 20) { supervisors.last[1] != master }
    second, next_master = supervisors.last
    refute_alive first
    assert_equal next_master, File.read("/proc/#{second}/stat")[/.*\) \S (\d+)/m, 1].to_i
    # Its own process, which serves a last request: that is the end of nothing.
    assert_log(/\[#{master}\] supervisor has gone, stopping the server/)
    File.write(gate, "")
    assert_equal 200, ResponseReader.new(waits).receive(timeout: 20).status
    File.write(app, "raise 'no database'")
    server.signal(:USR2)
    assert_log(/Generation 3 failed at boot/)
    assert_equal 2, supervisors.size
    File.write(app, serving)
    Process.kill(:KILL, second)
    assert_exits 0
  ensure
    waits&.close
  end

  private

  def spawn_with(plugin, workers:, before: "", after: "", app: "test/rackup/hello.ru")
    config = "workers #{workers}\n#{before}\nplugin :#{plugin}\n#{after}\n"
    spawn_server("-I", File.join(TestServer::ROOT, "test/plugins"), app:, config:)
    workers.times { |index| assert_log(/Worker #{index} .*booted/) }
  end

  def supervisor_pid
    assert_log(/supervisor \d+ of #{server.pid} runs/)
    server.log.scan(/supervisor (\d+) of/).last.first.to_i
  end

  # @return [Array<Array(Integer, Integer)>] each that has begun, and whose it is
  def supervisors = server.log.scan(/supervisor (\d+) of (\d+) runs/).map { |pids| pids.map(&:to_i) }

  def refute_alive(pid)
    server.wait_until("process #{pid} is gone", 5) do
      Process.kill(0, pid)
      false
    rescue Errno::ESRCH
      true
    end
  end

  def read_metrics(port)
    TCPSocket.open("127.0.0.1", port) do |socket|
      socket.write("GET /metrics HTTP/1.0\r\n\r\n")
      socket.read.split("\r\n\r\n", 2).last
    end
  rescue SystemCallError => e
    e.message
  end
end
