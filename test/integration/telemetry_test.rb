# frozen_string_literal: true

require "open3"
require "rserve/control/request"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"

# What operators see with `rserve { telemetry }`: metrics and threads.
class TelemetryTest < ServerCase
  parallelize_me!

  # No thread leaves, and takes what it has served along.
  MODES = { single: "threads 2, 2", cluster: "workers 2\nthreads 2, 2" }.freeze
  DURATION = "http_server_request_duration_seconds_count"
  PROMTOOL = ENV.fetch("PATH").split(":").map { |place| "#{place}/promtool" }.find { |path| File.executable?(path) }

  # Answers `/wait` when the file is there.
  APP = <<~'RUBY'
    go = %s
    run lambda { |env|
      sleep 0.01 until env["PATH_INFO"] != "/wait" || File.exist?(go)
      [env["PATH_INFO"] == "/nowhere" ? 404 : 200, {}, [env["HTTP_X_REQUEST_START"].to_s]]
    }
  RUBY

  MODES.each do |mode, config|
    define_method("test_metrics_of_requests_in_#{mode}") do
      spawn_told(config)
      get("/")
      get("/nowhere")
      request("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
      request("GET / HTTP/1.1\r\nHost : a\r\n\r\n")
      request("GET / HTTP/1.0\r\n\r\n")
      workers = mode == :cluster ? 2 : 1
      metrics = metrics_when do |values|
        [sum(values, DURATION), sum(values, "puma_max_threads"), sum(values, "http_server_active_requests")] ==
          [5, 2 * workers, 0]
      end
      {
        { http_request_method: "GET", http_response_status_code: "200", network_protocol_version: "1.1" } => 1,
        { http_request_method: "GET", http_response_status_code: "404" } => 1,
        { http_request_method: "_OTHER", http_response_status_code: "501" } => 1,
        { http_response_status_code: "400" } => 1,
        { http_response_status_code: "200", network_protocol_version: "1.0", url_scheme: "http" } => 1
      }.each { |labels, count| assert_equal count, sum(metrics, DURATION, **labels), labels.inspect }
      assert_equal 5, sum(metrics, "rserve_request_queue_duration_seconds_count")
      assert_equal mode == :cluster ? 2 : 0, sum(metrics, "puma_booted_workers")
      assert_equal(2 * workers, metrics.keys.count { |name, _| name == "rserve_worker_memory_bytes" })
    end

    define_method("test_figures_are_as_they_are_now_in_#{mode}") do
      spawn_told(config)
      idle = server.connect
      half = server.connect
      half.write("GET / HTTP/1.1\r\n")
      waiting = server.connect
      waiting.write("GET /wait?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n")
      metrics_when do |values|
        [sum(values, "puma_busy_threads"), sum(values, "http_server_active_requests"),
         *%w[idle reading serving].map { |state| sum(values, "rserve_connections", state:) }].all?(1)
      end
      thread = threads_when { |threads| threads.any? { |it| it["path"] == "/wait" } }.first
      assert_equal ["GET", "/wait"], thread.values_at("method", "path")
      refute_equal "idle", thread["state"]
      assert_operator thread["seconds"], :>=, 0
      FileUtils.touch(@go)
      assert_equal 200, ResponseReader.new(waiting).receive.status
      threads_when do |threads|
        threads.all? { |it| it["state"] == "idle" } && threads.sum { |it| it["requests_served"] } == 1
      end
      [idle, half, waiting].each(&:close)
      metrics_when do |values|
        [sum(values, "rserve_connections"), sum(values, "puma_busy_threads")].all?(&:zero?)
      end
    ensure
      FileUtils.touch(@go)
    end
  end

  def test_what_was_counted_outlives_a_worker
    spawn_told(MODES[:cluster])
    10.times { get("/") }
    metrics_when { |values| sum(values, DURATION) == 10 }
    worker = Integer(server.wait_for_log(/Worker 1 \(PID: (\d+)\) booted/)[1])
    mark = server.mark
    Process.kill(:KILL, worker)
    server.wait_for_log(/Worker 1 \(PID: \d+\) booted/, after: mark)
    get("/")
    metrics = metrics_when { |values| sum(values, DURATION) == 11 }
    assert_equal 1, sum(metrics, "rserve_worker_exits_total", reason: "signal")
    assert_equal 2, sum(metrics, "puma_workers")
    server.signal(:USR1)
    metrics_when { |values| sum(values, "rserve_restarts_total", result: "completed") == 1 }
    metrics = metrics_when { |values| sum(values, "puma_booted_workers") == 2 }
    assert_equal 0, sum(metrics, "puma_old_workers")
    assert_equal 2, sum(metrics, "rserve_worker_exits_total", reason: "told")
    assert_equal 11, sum(metrics, DURATION)
  end

  def test_workers_of_worker_0_are_seen_too
    spawn_told("#{MODES[:cluster]}\nfork_worker")
    4.times { get("/") }
    metrics_when { |values| sum(values, DURATION) == 4 && sum(values, "puma_booted_workers") == 2 }
    server.signal(:URG)
    metrics_when { |values| sum(values, "rserve_restarts_total", result: "completed") == 1 }
    metrics_when { |values| sum(values, "puma_old_workers").zero? && sum(values, "puma_booted_workers") == 2 }
  end

  def test_how_long_requests_were_on_their_way
    spawn_told("#{MODES[:single]}\nrserve { request_start }")
    before = Time.now.to_f
    stamp = get("/").body
    assert_match(/\At=\d+\.\d{3}\z/, stamp)
    assert_in_delta before, stamp.delete("t=").to_f, 30
    assert_equal "t=1", get("/", headers: { "X-Request-Start" => "t=1" }).body
    assert_equal "t=1", get("/", headers: { "x_request_start" => "t=1" }).body
    twice = server.request("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Start: t=1\r\nX-Request-Start: t=2\r\n\r\n")
    assert_equal "t=1, t=2", twice.body
    get("/", headers: { "X-Request-Start" => "t=#{Time.now.to_f - 2}" })
    metrics = metrics_when { |values| sum(values, DURATION) == 5 }
    assert_equal 1, sum(metrics, "rserve_request_upstream_duration_seconds_count")
    assert_operator sum(metrics, "rserve_request_upstream_duration_seconds_sum"), :>=, 2
  end

  def test_how_threads_spend_their_time
    spawn_told("threads 2, 2", app: file("spends.ru", <<~RUBY))
      run lambda { |env|
        ends = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 0.5
        rival = Thread.new { loop {} } if env["PATH_INFO"] == "/compete"
        env["PATH_INFO"] == "/sleep" && sleep(0.5) until Process.clock_gettime(Process::CLOCK_MONOTONIC) > ends
        rival&.kill
        [200, {}, []]
      }
    RUBY
    told = RUBY_VERSION >= "3.3"
    get("/sleep")
    get("/compute")
    metrics = metrics_when { |values| sum(values, DURATION) == 2 }
    assert_equal told ? 2 : 0, sum(metrics, "rserve_request_running_seconds_count")
    return unless told

    assert_operator sum(metrics, "rserve_request_io_wait_seconds_sum"), :>=, 0.4
    assert_operator sum(metrics, "rserve_request_running_seconds_sum"), :>, 0.1
    get("/compete")
    metrics = metrics_when { |values| sum(values, DURATION) == 3 }
    assert_operator sum(metrics, "rserve_request_gvl_wait_seconds_sum"), :>, 0.01
  end

  def test_tls
    certificate, key = Certificates.new(folder).issue("127.0.0.1")
    port = UniquePort.call
    spawn_told("threads 1, 2", "-b", "ssl://127.0.0.1:#{port}?cert=#{certificate}&key=#{key}")
    socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).connect
    socket.write("GET / HTTP/1.0\r\n\r\n")
    socket.read
    socket.close
    metrics_when do |values|
      sum(values, DURATION, url_scheme: "https") == 1 && sum(values, "rserve_tls_handshakes_total", result: "full") == 1
    end
  end

  def test_rservectl_shows_threads_metrics_and_the_slowest_requests
    spawn_told("threads 2, 2")
    waiting = server.connect
    waiting.write("GET /wait?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    threads_when { |threads| threads.any? { |it| it["path"] == "/wait" } }
    table, = rservectl("threads")
    assert_match(/^WORKER +PID THREAD STATE +SECONDS +SERVED +REQUEST$/, table)
    assert_match(%r{^ +0 +#{server.pid} +\d (io|gvl|running) +\d+\.\d{3} +0  GET /wait$}, table)
    assert_match(/^ +0 +#{server.pid} +\d idle +- +0  -$/, table)
    assert_equal "/wait", JSON.parse(rservectl("threads", "--json").first).dig("threads", 0, "path")
    assert_match(/^puma_busy_threads\{index="0"\} 1$/, rservectl("metrics").first)
    assert_match(%r{1 of 2 threads busy.*^WORKER +PID THREAD .*GET /wait$}m, rservectl("top").first)
    status = JSON.parse(rservectl("status", "--json").first)
    assert_equal [true, "single", nil], status.values_at("running", "mode", "fault")
    assert_equal 1, status["workers"].first["busy"]
    FileUtils.touch(@go)
    assert_equal 200, ResponseReader.new(waiting).receive.status
    server.stop
    output, code = rservectl("status", "--json")
    assert_equal [1, false], [code, JSON.parse(output)["running"]], output
  ensure
    FileUtils.touch(@go)
    waiting&.close
  end

  def test_nothing_is_told_that_nobody_asked_for
    spawn_told(MODES[:single], telemetry: false)
    %w[metrics threads].each do |command|
      assert_equal [404, %({ "error": "#{command} not available: the configuration has no `telemetry`" })], ask(command)
    end
    assert_equal "", get("/").body, "no stamp"
    shared = Dir["/proc/#{server.pid}/fd/*"].select { |fd| File.readlink(fd).include?("telemetry") }
    assert_empty shared
  end

  def test_promtool_finds_nothing_to_complain_about
    skip "no promtool here" unless PROMTOOL

    spawn_told(MODES[:cluster])
    get("/")
    metrics_when { |values| sum(values, DURATION) == 1 }
    output, status = Open3.capture2e(PROMTOOL, "check", "metrics", stdin_data: ask("metrics").last)
    assert_predicate status, :success?, output
    assert_empty output
  end

  private

  def spawn_told(config, *arguments, app: nil, telemetry: true)
    @go = File.join(folder, "go")
    @url = "tcp://127.0.0.1:#{UniquePort.call}"
    config = "#{config}\nrserve { telemetry }" if telemetry
    app ||= file("app.ru", format(APP, @go.dump))
    spawn_server("--control-url", @url, "--control-token", "secret", *arguments, config:, app:)
  end

  # @return [Array(Integer, String)] status and body
  def ask(command) = Rserve::ControlRequest.new(@url, "secret").get(command)

  # @return [Array(String, Integer)] what was printed, and the exit status
  def rservectl(*arguments)
    output, status = Open3.capture2e(RbConfig.ruby, "-Ilib", TestServer.rservectl, "-F", "-", "-C", @url, "-T",
                                     "secret", *arguments, chdir: TestServer::ROOT)
    [output, status.exitstatus]
  end

  # @return [Hash{Array(String, Hash) => Float}] values by name and labels
  def metrics
    samples = ask("metrics").last.lines.grep_v(/^#/).map do |line|
      name, labels, value = line.match(/\A(\w+)(?:\{(.*)\})? (\S+)\n\z/).captures
      [[name, labels.to_s.scan(/(\w+)="(.*?)"/).to_h.transform_keys(&:to_sym)], Float(value)]
    end
    samples.to_h
  end

  def metrics_when
    seen = nil
    server.wait_until("the metrics are as expected", 20) { yield(seen = metrics) && seen }
  rescue ServerProcess::Late => e
    flunk "#{e.message}\n#{seen.map { |sample| sample.join(" ") }.join("\n")}"
  end

  def threads_when
    seen = nil
    server.wait_until("the threads do as expected", 20) { yield(seen = threads) && seen }
  rescue ServerProcess::Late => e
    flunk "#{e.message}\n#{seen}"
  end

  def threads = JSON.parse(ask("threads").last).fetch("threads")

  # @param labels [Hash] those that matter
  def sum(metrics, name, **labels)
    metrics.sum { |(its, has), value| its == name && labels.all? { |label, wanted| has[label] == wanted } ? value : 0 }
  end
end
