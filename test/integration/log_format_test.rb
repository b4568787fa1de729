# frozen_string_literal: true

require_relative "../helpers/server_case"

# What the log tells, as a program that collects it reads it.
class LogFormatTest < ServerCase
  APP = <<~RUBY
    run lambda { |env|
      raise "über the \\"edge\\"" if env["PATH_INFO"] == "/error"
      [200, { "content-type" => "text/plain" }, env["PATH_INFO"] == "/parts" ? %w[ab cd].each : ["hello"]]
    }
  RUBY
  MEMBERS = %w[time level target msg method host path query status complete duration_ms queue_ms req_bytes resp_bytes
               client_addr proto scheme user_agent pid].freeze
  # Where Ruby tells what its threads wait for.
  WAITS = RUBY_VERSION >= "3.3" ? %w[gvl_wait_ms io_wait_ms] : []

  def test_a_request_is_one_object_in_the_access_log
    [0, 2].each do |workers|
      start("workers #{workers}\nrserve { access_log; log_format :json }")
      request("POST /parts?a=%22 HTTP/1.1\r\nHost: a.test:1\r\nX-Request-ID: r-\"1\"\r\nUser-Agent: test\tagent\r\n" \
              "Content-Length: 3\r\nConnection: close\r\n\r\nabc")
      line = access_lines.fetch(0)
      members = MEMBERS + WAITS + %w[request_id]
      members += %w[worker phase] if workers.positive?
      assert_equal members.sort, line.keys.sort
      assert_equal ["r-\"1\"", "POST", "a.test:1", "/parts", "a=%22", 200, true, 3, "127.0.0.1", "HTTP/1.1", "http",
                    "test\tagent"],
                   line.values_at(*%w[request_id method host path query status complete req_bytes client_addr proto
                                      scheme user_agent])
      assert_operator line["resp_bytes"], :>, 4
      assert_operator line["duration_ms"], :>=, line["queue_ms"]
      server.stop
    end
  end

  def test_what_its_thread_waited_for_is_told_of_a_request
    skip "this Ruby does not tell" if WAITS.empty?
    # Whoever comes beside one that computes waits for the GVL, another one or one that has slept: the order in which
    # they come is nobody's.
    app = <<~RUBY
      run lambda { |env|
        env["PATH_INFO"] == "/io" ? sleep(0.2) : 100.times { 100_000.times { |i| i * i } }
        [200, {}, env["QUERY_STRING"] == "stream" ? ->(out) { sleep(0.1) && out.write("x") && out.close } : []]
      }
    RUBY
    ["", "; telemetry"].each do |more|
      start("threads 3, 3\nrserve { access_log; log_format :json#{more} }", app:)
      %w[/gvl /gvl?2 /io /io?stream].map { |path| Thread.new { get(path) } }.each(&:join)
      lines = access_lines(4)
      io = lines.select { |line| line["path"] == "/io" }.map { |line| line["io_wait_ms"] }.sort
      assert_operator io.first, :>=, 199
      assert_operator io.last, :>=, 299
      assert_operator lines.sum { |line| line["gvl_wait_ms"] }, :>, 1
      server.stop
    end
  end

  def test_what_the_application_never_sees_and_what_breaks_is_in_the_access_log_too
    start("rserve { access_log; log_format :json; log_level :debug }")
    request("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n")
    request("GET /error HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert_equal([[400, true], [500, true]], access_lines(2).map { |line| line.values_at("status", "complete") })

    refusal = objects.find { |line| line["msg"] == "refuses a request" }
    assert_equal ["debug", 400, "127.0.0.1"], refusal.values_at("level", "status", "client_addr")
    assert_match(/Invalid HTTP format/, refusal["reason"])
  end

  def test_a_response_that_nobody_reads_to_its_end_is_not_complete
    start("rserve { access_log; log_format :json }", app: <<~RUBY)
      run ->(_) { [200, {}, Enumerator.new { |out| 400.times { out << "x" * 65_536 } }] }
    RUBY
    socket = server.connect
    socket << "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    socket.readpartial(10)
    socket.setsockopt(Socket::SOL_SOCKET, Socket::SO_LINGER, [1, 0].pack("ii"))
    socket.close
    assert_equal [200, false], access_lines.fetch(0).values_at("status", "complete")
  end

  def test_an_error_of_the_application_is_one_object
    start("rserve { log_format :json }")
    request("GET /error?q HTTP/1.1\r\nHost: a\r\nX-Request-Id: 7\r\nConnection: close\r\n\r\n")
    server.wait_for_log(/"level":"error"/)
    error = objects.find { |line| line["level"] == "error" }
    assert_equal %w[RuntimeError GET /error 7 127.0.0.1],
                 error.values_at("error", "method", "path", "request_id", "client_addr")
    assert_includes error["msg"], "über the"
    assert_match(/config\.ru:2/, error["backtrace"].first)
  end

  def test_a_hot_restart_is_told_in_objects
    start("workers 1\nrserve { log_format :json; log_level :debug }")
    hot_restart
    lines = objects
    assert_equal 2, (lines.count { |line| line["msg"] == "Use Ctrl-C to stop" })
    assert_equal 1, (lines.count { |line| line["effect"] == "Exec" })
    assert_equal %w[debug info], lines.map { |line| line["level"] }.uniq.sort & %w[debug info]
  end

  def test_the_environment_and_the_command_line_say_what_is_told_and_how
    spawn_server("--log-format", "json", env: { "RSERVE_LOG" => "rserve_core::connection=debug" })
    request("nonsense\r\n\r\n")
    server.wait_for_log(/refuses a request/)
    assert_equal(%w[rserve_core::connection], objects.filter_map { |line| line["target"] }.uniq)

    spawn_server(env: { "RSERVE_LOG" => "debug" })
    request("nonsense\r\n\r\n")
    assert_log(/^\S+Z DEBUG rserve_core::connection: refuses a request status=400 reason="Invalid HTTP format/)
  end

  def test_nothing_of_it_is_told_unless_it_is_asked_for
    spawn_server
    request("nonsense\r\n\r\n")
    get("/")
    server.stop
    refute_log(/Z (DEBUG|INFO|WARN)|rserve_core/)
  end

  def test_an_access_log_of_its_own_is_opened_anew_on_hup_and_has_no_other_lines
    path = File.join(folder, "access.log")
    [0, 1].each do |workers|
      FileUtils.rm_f(Dir["#{path}*"])
      start("workers #{workers}\nrserve { access_log #{path.inspect} }")
      get("/one")
      server.wait_until("the first line", 20) { File.read(path).include?("/one") }
      File.rename(path, "#{path}.1")
      server.signal(:HUP)
      server.wait_until("the new file", 20) { File.exist?(path) }
      server.wait_until("the line in the new file", 20) do
        get("/two")
        File.read(path).include?("/two")
      end
      assert(File.readlines(path).all? { |line| line.match?(/^\S+Z INFO rserve::access: request method="GET" /) })
      server.stop
    end
  end

  def test_what_cannot_be_a_log_is_one_line
    { "log_level :loud" => /"loud" is no log level/, "log_format :xml" => /log_format must be :text or :json, not :xml/,
      "access_log '/nowhere/at/all'" => %r{access_log: cannot write /nowhere/at/all: No such file or directory} }
      .each do |word, message|
      spawn_server(config: "rserve { #{word} }", wait: false)
      assert_exits 1
      assert_log message
    end
    spawn_server(env: { "RSERVE_LOG" => "loud" }, wait: false)
    assert_exits 1
    assert_log(/RSERVE_LOG: "loud" is no log level/)
  end

  private

  def start(config, app: APP) = spawn_server(config:, app: file("config.ru", app))

  # Every line of the log so far, each of which has to be an object.
  def objects
    server.log.lines(chomp: true).reject(&:empty?).map { |line| JSON.parse(line) }
  end

  def access_lines(count = 1)
    server.wait_until("#{count} access lines", 20) { server.log.scan('"rserve::access"').size >= count }
    objects.select { |line| line["target"] == "rserve::access" }
  end
end
