# frozen_string_literal: true

require "json"
require_relative "../helpers/client_load"
require_relative "../helpers/server_case"

# Requests that the application does not answer (`request_timeout`).
class RequestTimeoutTest < ServerCase
  parallelize_me!

  # `/hang` never answers of itself: the file named in the query lets it. `/ask` asks for time, `/late` for a response
  # in parts.
  APP = <<~'RUBY'
    def hang(path)
      sleep 0.01 until File.exist?(path)
    end

    run lambda { |env|
      case env["PATH_INFO"]
      when "/hang" then hang(env["QUERY_STRING"])
      when "/ask"
        env["rserve.timeout"].extend(1000)
        hang(env["QUERY_STRING"])
      when "/socket"
        io = env["puma.socket"].to_io
        hang(env["QUERY_STRING"])
        io.write("late") rescue nil
      when "/hints"
        env["rack.early_hints"].call("link" => "</a.css>")
        hang(env["QUERY_STRING"])
        env["rack.early_hints"].call("link" => "</b.css>")
      when "/raise"
        hang(env["QUERY_STRING"])
        raise "came too late"
      when "/none"
        env["rserve.timeout"]&.extend(1000) # the machine may be slow
        return [200, {}, [env.key?("rserve.timeout").to_s]]
      end
      (env["rack.after_reply"] ||= []) << -> { warn "after #{env["PATH_INFO"]}" }
      [200, {}, Class.new { def each = yield("late"); def close = warn("closed") }.new]
    }
  RUBY

  def test_off_it_costs_nothing
    start("")
    assert_equal "false", get("/none").body
  end

  def test_what_takes_long_is_told_once_with_its_backtrace_and_to_the_hook
    [[], %w[-w 1]].each do |mode|
      start(<<~'RUBY', *mode)
        rserve do
          request_timeout 0.2
          on_request_timeout { |env, thread, seconds| warn "hook #{env["PATH_INFO"]} #{thread.name} #{seconds > 0.2}" }
          on_request_timeout { |_| raise "a hook's own" }
        end
      RUBY
      client = hang("/hang")
      assert_log(/! GET .hang has been in the application for \d\.\d s, on thread "puma srv tp 001":\n  .*app\.ru:2:/)
      assert_log(%r{hook /hang puma srv tp 001 true})
      assert_log(/WARNING hook on_request_timeout failed with exception \(RuntimeError\) a hook's own/)
      release
      assert_equal "late", ResponseReader.new(client).receive(timeout: 20).body
      get("/none")
      assert_equal 1, server.log.scan("has been in the application").size
    ensure
      client&.close
    end
  end

  def test_as_an_object_it_has_the_backtrace_as_a_member
    start("rserve { request_timeout 0.2; log_format :json }\n")
    client = hang("/hang", "X-Request-Id: r-\xff\r\n")
    assert_log(/"msg":"GET .hang has been/)
    line = server.log.lines.filter_map { |text| JSON.parse(text) if text.start_with?("{") }
                 .find { |it| it["msg"].include?("has been in the application") }
    assert_equal ["warn", "GET", "/hang", "puma srv tp 001"], line.values_at("level", "method", "path", "thread")
    assert_operator line["seconds"], :>=, 0.2
    assert_match(/app\.ru:2/, line["backtrace"].first)
    assert_match(/\Ar-/, line["request_id"])
  ensure
    client&.close
    release
  end

  def test_a_request_may_ask_for_more_time
    start("rserve { request_timeout 0.2, hard: 0.4 }\n", "-t", "2:2")
    asks = hang("/ask")
    other = hang("/hang")
    assert_equal 504, ResponseReader.new(other).receive(timeout: 20).status
    refute_log(/GET .ask/)
    release
    assert_equal "late", ResponseReader.new(asks).receive(timeout: 20).body
  ensure
    [asks, other].compact.each(&:close)
  end

  # Without workers the thread that hangs is replaced; who ends the server need not wait for it.
  def test_what_hangs_is_answered_504_and_its_thread_replaced
    start("rserve { request_timeout 0.1, hard: 0.3 }\n")
    client = hang("/hang", get_of("/none"))
    reader = ResponseReader.new(client)
    answer = reader.receive(timeout: 20)
    assert_equal [504, "close", "0"], [answer.status, answer["Connection"], answer["Content-Length"]]
    assert reader.closed?(timeout: 20), "what follows is not answered"
    assert_log(/! GET .hang was answered 504: the application has had it for \d\.\d s; another thread takes its place/)
    assert_log(%r{! GET /hang has been in the application})
    assert_equal "true", get("/none").body
    server.signal(:INT)
    assert_exits 0
  ensure
    client&.close
  end

  # In a cluster its replacement boots first, and nothing else is lost.
  def test_ten_times_in_a_row_a_worker_is_replaced_and_no_other_request_is_lost
    start("worker_check_interval 0.1\nrserve { request_timeout 0.2, hard: 0.6 }\n", "-w", "2", "-t", "2:2", "--preload")
    load = ClientLoad.new(server, fresh: 2, target: "/none", pause: 0.01)
    10.times do
      mark = server.mark
      client = hang("/hang")
      assert_equal 504, ResponseReader.new(client).receive(timeout: 30).status
      stopped = server.wait_for_log(/- Stopping (\d+), its replacement serves/, timeout: 60, after: mark)[1]
      server.wait_until("#{stopped} is gone", 30) { !File.exist?("/proc/#{stopped}") }
    ensure
      client&.close
    end
    results = load.stop
    assert_equal ["answered"], results.keys, results.inspect
    [%r{! GET /hang has been in the application}, /another worker takes this one's place/].each do |line|
      assert_equal 10, server.log.scan(line).size, line.inspect
    end
  end

  def test_what_the_application_does_later_goes_nowhere
    start("early_hints\nrserve { request_timeout 0.1, hard: 0.3 }\n", "-t", "5:5")
    clients = %w[/hang /raise /hints /socket].to_h { |path| [path, hang(path)] }
    answers = clients.except("/socket").transform_values { |client| ResponseReader.new(client) }
    answers.each { |path, reader| assert_equal 504, reader.receive(timeout: 20).status, path }
    # It may have written to the socket itself: a client that gets nothing sees that it is not all.
    assert ResponseReader.new(clients["/socket"]).closed?(timeout: 20)
    release
    %w[/hang /hints /socket].each { |path| assert_log(/after #{path}/) }
    answers.each { |path, reader| assert reader.closed?(timeout: 20), path }
    server.wait_until("the bodies are closed", 20) { server.log.scan(/^closed/).size == 3 }
    assert_log(%r{Rack app \("GET /raise\?.* - \(127.0.0.1\)\): #<RuntimeError: came too late>})
    assert_equal 1, server.log.scan(/Rack app/).size
    assert_equal "true", get("/none").body
  ensure
    clients&.each_value(&:close)
  end

  private

  def start(config, *arguments)
    @go = File.join(folder, "go")
    spawn_server("-t", "1:1", *arguments, app: file("app.ru", APP), config:)
  end

  def hang(path, more = "")
    fields, following = more.start_with?("GET") ? ["", more] : [more, ""]
    server.connect.tap { |client| client.write("GET #{path}?#{@go} HTTP/1.1\r\nHost: h\r\n#{fields}\r\n#{following}") }
  end

  def get_of(target) = "GET #{target} HTTP/1.1\r\nHost: h\r\n\r\n"
  def release = File.write(@go, "")
end
