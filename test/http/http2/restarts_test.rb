# frozen_string_literal: true

require "open3"
require_relative "../../helpers/certificates"
require_relative "../../helpers/http2_load"
require_relative "http2_case"

# However workers are replaced: each request by HTTP/2 is answered, or the client is told that it was not begun.
class Http2RestartsTest < Http2Case
  parallelize_me!

  # Writes down which requests it was given.
  APP = <<~'RUBY'
    begun = File.open(ENV.fetch("BEGUN"), "a")
    begun.sync = true
    run lambda { |env|
      begun.syswrite("#{env["PATH_INFO"]}\n")
      [200, {}, [Process.pid.to_s]]
    }
  RUBY

  # It repeats by itself what was not begun, and nothing else.
  CURL = system("curl --version 2>/dev/null | grep -q HTTP2")

  def test_a_phased_restart
    booted = /Worker \d \(PID: \d+\) booted in .*, phase: [12]$/
    loses_nothing("preload_app! false\n", replaced: booted, times: 4, curl: true) do |time|
      server.signal(:USR1) if time.even?
    end
  end

  def test_an_overlapping_restart
    words = "preload_app!\nrserve { overlap_restart; restart_settle 0 }\n"
    loses_nothing(words, replaced: /Generation \d+ serves, after/, times: 2, curl: true) { server.signal(:USR2) }
  end

  def test_workers_that_have_served_enough
    words = "preload_app!\nworker_check_interval 0.1\nrserve { max_requests 60, jitter: 0.5 }\n"
    loses_nothing(words, replaced: /TERM sent to/, times: 4)
  end

  def test_workers_that_have_lived_long_enough
    words = "preload_app!\nworker_check_interval 0.1\nrserve { worker_lifetime 1, jitter: 0.2 }\n"
    loses_nothing(words, replaced: /TERM sent to/, times: 3)
  end

  def test_workers_that_are_forked_anew_from_a_mold
    words = "worker_check_interval 0.2\nrserve { refork_after [50, 80] }\n"
    loses_nothing(words, replaced: /Starting worker refork, phase: \d/, times: 2)
  end

  def test_workers_that_are_forked_anew_from_worker_0
    words = "fork_worker 0\nworker_check_interval 0.2\n"
    loses_nothing(words, replaced: /Worker 1 \(PID: \d+\) booted in .*, phase: \d/, times: 3) { server.signal(:URG) }
  end

  # A connection ends after so many requests, of which others may be on their way.
  def test_connections_that_have_had_enough
    serve("max_keep_alive 12\n")
    loads = loads_of(pause: 0)
    server.wait_until("some hundred requests", 20) { File.read(@begun).count("\n") > 500 }
    loads.each { |load| assert_lost_nothing(load.stop) }
  end

  private

  # @param words [String] of the configuration
  # @param replaced [Regexp] what the log says each time
  # @yieldparam time [Integer] asks for it
  def loses_nothing(words, replaced:, times:, curl: false)
    serve(words)
    loads = loads_of
    curl = Thread.new { run_curl } if curl && CURL
    times.times do |time|
      yield time if block_given?
      server.wait_until("#{replaced.inspect}, time #{time + 1}", 40) { server.log.scan(replaced).size > time }
    end
    loads.each { |load| assert_lost_nothing(load.stop) }
    @stop = true
    assert_empty curl.value.grep_v(/\A200 2$/) if curl
    refute_log(/ERROR|died/)
  end

  def serve(words)
    @certificates = Certificates.new(folder)
    cert, key = @certificates.issue("localhost")
    @port = UniquePort.call
    @begun = File.join(folder, "begun")
    start(APP, "-w", "2", "-b", "ssl://127.0.0.1:#{@port}?cert=#{cert}&key=#{key}",
          config: words, env: { "BEGUN" => @begun })
    2.times { |index| assert_log(/Worker #{index} \(PID: \d+\) booted/) }
  end

  def loads_of(**options)
    [Http2Load.new("plain", **options) { server.connect }, Http2Load.new("tls", **options) { connect_by_tls }]
  end

  def connect_by_tls
    context = OpenSSL::SSL::SSLContext.new
    context.alpn_protocols = %w[h2]
    OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @port), context).tap { |tls| tls.sync_close = true }.connect
  end

  def assert_lost_nothing(results)
    assert_empty results.lost, "#{results.answered.size} were answered, #{results.refused.size} refused"
    assert_operator results.answered.size, :>, 20
    assert_empty results.refused & File.readlines(@begun, chomp: true), "refused, yet begun"
  end

  # @return [Array<String>] a status for each request, and what else it said
  def run_curl
    lines = []
    command = ["curl", "-sS", "--no-progress-meter", "--http2", "--cacert", @certificates.ca,
               "--resolve", "localhost:#{@port}:127.0.0.1", "--parallel", "--parallel-max", "5", "-o", File::NULL,
               "-w", "%{http_code} %{http_version}\n", "https://localhost:#{@port}/[1-100]"]
    lines.concat(Open3.capture3(*command).first(2).join.lines) until @stop
    lines
  end
end
