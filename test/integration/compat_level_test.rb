# frozen_string_literal: true

require_relative "../helper"
require "rack"
require "puma/server"

# Where Puma 6 to 9 contradict each other, seen from a client of a server in this process.
class CompatLevelTest < TimedTestCase
  APP = lambda do |env|
    case env["PATH_INFO"]
    when "/lengths" then [200, { "X-Shop" => "open", "Content-Length" => "2" }, ["hi"]]
    when "/parts" then [200, { "Content-Type" => "text/plain" }, %w[a b].each]
    when "/version" then [200, {}, [env["HTTP_VERSION"].inspect]]
    when "/peer" then [200, {}, [env["REMOTE_ADDR"]]]
    when "/hijack" then [200, {}, [env["rack.hijack"].is_a?(Proc).to_s]]
    when "/sleep" then sleep
    when "/underscores" then [200, {}, [env.values_at("puma.underscore_headers", "HTTP_A_B").inspect]]
    else raise "no such path"
    end
  end

  # Request, and the head of the response at level 6, 7 and 8.
  HEADS = {
    "GET /lengths HTTP/1.1\r\n\r\n" => [
      "HTTP/1.1 200 OK\r\nX-Shop: open\r\nContent-Length: 2",
      "HTTP/1.1 200 OK\r\nx-shop: open\r\ncontent-length: 2",
      "HTTP/1.1 200 OK\r\nx-shop: open\r\ncontent-length: 2"
    ],
    "GET /parts HTTP/1.1\r\nConnection: close\r\n\r\n" => [
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nTransfer-Encoding: chunked",
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ntransfer-encoding: chunked",
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ntransfer-encoding: chunked"
    ],
    "GET /lengths HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" => [
      "HTTP/1.0 200 OK\r\nX-Shop: open\r\nConnection: Keep-Alive\r\nContent-Length: 2",
      "HTTP/1.0 200 OK\r\nx-shop: open\r\nconnection: keep-alive\r\ncontent-length: 2",
      "HTTP/1.0 200 OK\r\nx-shop: open\r\nconnection: keep-alive\r\ncontent-length: 2"
    ],
    "BREW / HTTP/1.1\r\n\r\n" => [
      "HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Length: 28",
      "HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 28",
      "HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0"
    ],
    "POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n" => [
      "HTTP/1.1 413 Content Too Large\r\nContent-Length: 17",
      "HTTP/1.1 413 Content Too Large\r\ncontent-length: 17",
      "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 17"
    ]
  }.freeze

  def test_heads_of_responses
    HEADS.each do |request, heads|
      [6, 7, 8].zip(heads) do |level, head|
        serve(level) { assert_equal head, exchange(request).first, "level #{level}: #{request.inspect}" }
      end
    end
  end

  def test_http_version_is_in_the_environment_up_to_level_6_or_where_rack_is_older_than_3_1
    old_rack = Rack.release < "3.1"
    %w[1.0 1.1].each do |version|
      request = "GET /version HTTP/#{version}\r\n\r\n"
      { 6 => true, 7 => old_rack, 8 => old_rack }.each do |level, expected|
        wanted = expected ? "HTTP/#{version}".inspect : "nil"
        serve(level) { assert_equal wanted, exchange(request).last, "level #{level}" }
      end
    end
  end

  def test_a_field_named_version_is_the_applications_where_the_server_sets_no_http_version
    old_rack = Gem::Version.new(Rack.release) < Gem::Version.new("3.1")
    request = "GET /version HTTP/1.1\r\nVersion: 9\r\nversion: 8\r\n\r\n"
    { 6 => "HTTP/1.1", 7 => old_rack ? "HTTP/1.1" : "9, 8", 8 => old_rack ? "HTTP/1.1" : "9, 8" }.each do |level, value|
      serve(level) { assert_equal value.inspect, exchange(request).last, "level #{level}" }
    end
  end

  def test_from_level_9_on_a_request_names_its_host
    answers = { "GET /lengths HTTP/1.1\r\n\r\n" => %w[200 400], "GET /lengths HTTP/1.1\r\nHost:\r\n\r\n" => %w[200 400],
                "GET /lengths HTTP/1.1\r\nHost: a\r\n\r\n" => %w[200 200],
                "GET /lengths HTTP/1.0\r\n\r\n" => %w[200 200],
                "QUERY /lengths HTTP/1.1\r\nHost: a\r\n\r\n" => %w[200 200] }
    [8, 9].zip(answers.values.transpose).each do |level, statuses|
      told = answers.keys.map { |request| serve(level) { exchange(request).first[9, 3] } }
      assert_equal statuses, told, "level #{level}"
    end
  end

  def test_from_level_9_on_the_environment_names_fields_with_underscores
    request = "GET /underscores HTTP/1.1\r\nHost: a\r\na_B: 1\r\nA_b: 2\r\nContent_Length: 5\r\nX-Y_z: 3\r\n\r\n"
    names = %w[A_B CONTENT_LENGTH X-Y_Z]
    told = { [8, true] => [nil, "1, 2"], [9, true] => [names, "1, 2"], [9, false] => [names, nil] }
    told.each do |(level, allowed), values|
      serve(level, allow_underscore_headers: allowed) { assert_equal values.inspect, exchange(request).last }
    end
    serve(9) do
      assert_equal [nil, "1"].inspect, exchange("GET /underscores HTTP/1.1\r\nHost: a\r\nA-B: 1\r\n\r\n").last
    end
  end

  def test_hijack_is_a_proc_from_level_7_on
    { 6 => "false", 7 => "true", 8 => "true" }.each do |level, answer|
      serve(level) { assert_equal answer, exchange("GET /hijack HTTP/1.1\r\n\r\n").last, "level #{level}" }
    end
  end

  def test_connection_is_closed_after_max_keep_alive_responses_from_level_7_on
    { 6 => 3, 7 => 2, 8 => 2 }.each do |level, answers|
      serve(level, max_keep_alive: level == 6 ? nil : 2) do |socket|
        heads = Array.new(answers) { exchange("GET /lengths HTTP/1.1\r\n\r\n", socket).first }
        closes = heads.map { |head| head.match?(/^connection: close/i) }
        assert_equal ([false] * (answers - 1)) << (level > 6), closes, "level #{level}"
      end
    end
  end

  def test_stats_have_the_levels_keys_in_their_order
    {
      6 => %i[backlog running pool_capacity max_threads requests_count busy_threads],
      7 => %i[backlog running pool_capacity busy_threads backlog_max max_threads requests_count reactor_max],
      8 => %i[backlog running pool_capacity busy_threads io_threads backlog_max max_threads requests_count reactor_max]
    }.each do |level, keys|
      serve(level) do |socket|
        exchange("GET /lengths HTTP/1.1\r\n\r\n", socket)
        stats = @server.stats
        assert_equal keys, stats.keys
        assert_equal [0, 1, 2], stats.values_at(:backlog, :requests_count, :max_threads)
        assert_equal [1, 1], stats.values_at(:backlog_max, :reactor_max) if level > 6
        assert_equal 0, @server.stats.fetch(:backlog_max, 0), "reading it starts it anew"
      end
    end
  end

  def test_before_it_runs_a_server_tells_two_figures_from_level_7_on
    [6, 7, 8].each do |level|
      stats = Puma::Server.new(APP, nil, { compat: level, max_threads: 3 }).stats
      assert_equal 3, stats[:max_threads]
      assert_equal level > 6, stats.keys == %i[max_threads requests_count], "level #{level}: #{stats}"
    end
  end

  def test_the_least_threads_are_there_when_run_returns
    serve(8, min_threads: 2, max_threads: 4) do
      pool = @server.instance_variable_get(:@thread_pool)
      assert_equal [2, 2, 4], [@server.stats[:running], pool.min, pool.max]
    end
  end

  def test_without_time_for_grace_threads_are_told_to_stop_and_killed_at_once
    out, = capture_io do
      serve(8, shutdown_debug: :on_force, force_shutdown_after: 0, pool_shutdown_grace_time: 0) do |socket|
        socket << "GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n"
        Timeout.timeout(Patience.for(10)) { Thread.pass until @server.stats[:busy_threads] == 1 }
        @server.stop(true)
      end
    end
    lines = ["Shutdown timeout exceeded", "Shutdown grace timeout exceeded"]
    assert_equal([1, 1], lines.map { |line| out.scan(line).size })
  end

  def test_development_shows_an_error_page_for_an_unknown_method_at_level_8
    serve(8, environment: "development") do
      assert_match(/BREW method is not supported \(Puma::HttpParserError501\)/,
                   exchange("BREW / HTTP/1.1\r\n\r\n").last)
    end
  end

  def test_an_unknown_method_is_malformed_at_level_8
    { 7 => [nil, ""], 8 => [["/brew", "a=b", "127.0.0.1"], "HTTP parse error, malformed request (\"BREW /brew"] }
      .each do |level, (wanted, line)|
        env = nil
        handler = ->(_error, given, status) { (env = given) && [status, {}, []] }
        serve(level, lowlevel_error_handler: handler) do
          assert_match(/\AHTTP.1.1 501/, exchange("BREW /brew?a=b HTTP/1.1\r\n\r\n").first)
          assert_equal [wanted], [env&.values_at("PATH_INFO", "QUERY_STRING", "REMOTE_ADDR")]
          assert_includes @server.log_writer.stderr.string, line
        end
      end
  end

  def test_an_ipv4_client_of_an_ipv6_listener_has_an_ipv4_address_at_level_8
    skip "no IPv6" unless Socket.ip_address_list.any?(&:ipv6?)

    { 6 => "::ffff:127.0.0.1", 7 => "::ffff:127.0.0.1", 8 => "127.0.0.1" }.each do |level, address|
      serve(level, host: "::") { assert_equal address, exchange("GET /peer HTTP/1.1\r\n\r\n").last, "level #{level}" }
    end
  end

  def test_a_threads_first_hook_may_change_the_pool
    given = Queue.new
    hooks = [proc { |control| given << control }, -> { given << :nothing }, ->(control) { given << control }]
    serve(8, min_threads: 1, before_thread_start: hooks) do
      controls = Array.new(3) { given.pop }
      assert_equal [Puma::ServerPluginControl, Symbol, Puma::ServerPluginControl], controls.map(&:class)
      controls.first.update_thread_pool_min_max(max: 4)
      assert_equal [1, 4], [controls.last.min_threads, controls.last.max_threads]
      assert_equal 4, @server.stats[:max_threads]
    end
  end

  def test_bounds_of_the_pool_that_make_no_sense_are_logged_and_change_nothing
    serve(8, min_threads: 1) do
      @server.update_thread_pool_min_max(min: 3)
      @server.update_thread_pool_min_max(min: -1)
      assert_equal ["`min' value cannot be greater than `max' value.", "`min' value cannot be less than 0"],
                   @server.log_writer.stdout.string.lines(chomp: true)
      assert_equal [1, 2], [@server.min_threads, @server.max_threads]
    end
  end

  private

  # @yieldparam socket [TCPSocket] connected
  def serve(level, host: "127.0.0.1", **options)
    log = Puma::LogWriter.strings
    options = { environment: "production", http_content_length_limit: 100, max_threads: 2, **options }
    @server = Puma::Server.new(APP, nil, { compat: level, log_writer: log, **options })
    @port = @server.add_tcp_listener(host, 0).addr[1]
    @server.run
    TCPSocket.open("127.0.0.1", @port) { |socket| yield @socket = socket }
  ensure
    @server&.stop(true)
    @server&.binder&.close
  end

  # @return [Array(String, String)] head without the empty line, body
  def exchange(request, socket = @socket)
    socket.write(request)
    octets = +""
    octets << socket.readpartial(65_536) until (head, body = octets.split("\r\n\r\n", 2)) && body
    length = head[/^content-length: (\d+)/i, 1].to_i
    body << socket.readpartial(65_536) while body.bytesize < length
    [head, body]
  end
end
