# frozen_string_literal: true

require_relative "../helpers/fiber_case"
require_relative "../helpers/gc_stress"
require_relative "../helpers/http2_client"

# Requests that wait in fibers (`fiber_routes`, `fiber_scheduler`).
class FiberLaneTest < FiberCase
  def test_routes_are_served_by_fibers_of_one_thread_and_the_rest_by_threads
    start
    name, blocking, scheduler = JSON.parse(get("/ai/who").body)
    assert_equal ["puma srv fibers", false, "Async::Scheduler"], [name, blocking, scheduler]
    name, blocking, scheduler = JSON.parse(get("/who").body)
    assert_equal ["puma srv tp 001", true, nil], [name, blocking, scheduler]
    start "rserve { fiber_scheduler }"
    assert_equal "puma srv fibers", JSON.parse(get("/who").body).first
    assert_equal 400, request("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n").status
  end

  def test_waiting_holds_no_thread
    start
    waiting = hold(100)
    assert_equal "hello", get("/hello").body
    assert_equal [100, 0, 256], figures
    open_gate
    assert_equal ["held"], bodies(waiting).uniq
    server.wait_until("they are counted out", 10) { figures == [0, 0, 256] }
    assert_operator get("/requests").body.to_i, :>=, 100
  end

  def test_at_most_so_many_wait_and_others_queue_and_are_turned_away_in_time
    start 'rserve { fiber_routes "/ai/*", max: 3; shed_exempt "/ai/hold?exempt" }'
    waiting = hold(10, marks: 3)
    server.wait_until("the others wait", 10) { figures == [3, 7, 3] }
    open_gate
    assert_equal ["held"] * 10, bodies(waiting)
    start 'rserve { fiber_routes "/ai/*", max: 2; queue_time_limit 0.3 }'
    waiting = hold(5, marks: 2)
    shed = waiting.drop(2).map { |reader| reader.receive.status }
    open_gate
    assert_equal [[503] * 3, ["held"] * 2], [shed, bodies(waiting.take(2))]
  end

  def test_each_request_has_a_fiber_of_its_own
    start
    requests = "GET /ai/local HTTP/1.1\r\nHost: a\r\n\r\n" * 3
    seen = server.exchange(requests) { |reader| Array.new(3) { reader.receive.body } }
    assert_equal ["nil"] * 3, seen
    assert_log(/after reply\nafter reply\nafter reply/)
  end

  def test_bodies_that_take_their_time
    start
    readers = Array.new(50) { |number| ask(number.even? ? "/ai/each" : "/ai/call") }
    assert_equal ["0 1 2 "], bodies(readers).uniq
  end

  def test_streams_that_only_wait_hear_every_event
    start 'rserve { fiber_routes "/ai/*", max: 1000 }'
    listening = Array.new(300) { ask("/ai/listen") }
    stopped = ask("/ai/listen") # and reads nothing
    server.wait_until("they listen", 20) { get("/listening").body == "301" }
    10.times { assert_equal "301", get("/tell").body }
    get("/over")
    assert_equal ["event " * 10], bodies([*listening, stopped]).uniq
    server.wait_until("their fibers have ended", 20) { figures == [0, 0, 1000] }
  end

  def test_a_slow_reader_parks_its_fiber_and_not_the_thread
    start
    slow = Array.new(3) { ask("/ai/big") }
    # What the sockets and the server's memory take is less than all of it.
    assert_equal "held nothing", get("/ai/quick").body
    assert_equal([BIG] * 3, slow.map { |reader| reader.receive(timeout: 60).body.bytesize })
  end

  def test_a_client_that_is_gone_shows_at_the_next_write_or_wait
    start
    server.exchange("GET /ai/endless HTTP/1.1\r\nHost: a\r\n\r\n") do |_, socket|
      socket.readpartial(100)
    end
    assert_log(/the stream has ended: Rserve::(ConnectionError|ClientGone)/)
    assert_equal [0, 0, 256], figures
  end

  def test_hijacked_sockets_wait_in_their_fibers
    start
    %w[/ai/hijack /ai/partial].each do |path|
      request = "GET #{path} HTTP/1.1\r\nHost: a\r\n\r\n"
      sockets = Array.new(20) { server.connect.tap { |socket| socket.write(request) } }
      sockets.each { |socket| assert_includes socket.gets("ready\n"), "ready" }
      assert_equal "hello", get("/hello").body
      sockets.reverse_each { |socket| socket.write("#{socket.object_id}\n") }
      sockets.each { |socket| assert_equal "#{socket.object_id} back\n", socket.gets }
      sockets.each(&:close)
    end
    server.wait_until("all have ended", 10) { figures == [0, 0, 256] }
  end

  def test_real_code_waits_together
    start
    at(8, "/hello") # Ruby loads some of it at its first use
    %w[popen timeout mutex queue thread condition net_http async_http sqlite3].each do |what|
      next if what == "async_http" && !there?("async/http")
      next if what == "sqlite3" && !there?("sqlite3")

      waiting = hold(8, path: "/ai/#{what}")
      open_gate
      assert_equal [what], bodies(waiting).uniq
      close_gate
    end
  end

  def test_failures_of_the_application
    start
    assert_equal([500] * 3, at(3, "/ai/raise").map(&:status))
    assert_log(/#<RuntimeError: of the application>/)
    assert_equal "held nothing", get("/ai/quick").body
  end

  def test_a_stop_waits_for_fibers
    [[], %w[-w 2]].each do |mode|
      start(nil, *mode)
      waiting = hold(200)
      server.signal(:TERM)
      assert_refuses_connections
      open_gate
      assert_equal ["held"] * 200, bodies(waiting)
      assert_exits :TERM
      close_gate
    end
  end

  # Signal, arguments, further words, and the line that says that it is done: all waited when it began.
  RESTARTS = [
    [:USR2, [], "", /Ctrl-C/],
    [:USR1, %w[-w 2], "", /Worker 1 .*phase: 1/],
    [:URG, %w[-w 2], "fork_worker 0\n", /Worker 1 .*phase: 1/],
    [:USR2, %w[-w 2 --preload], "rserve { overlap_restart; restart_settle 0 }\n", /Ctrl-C/]
  ].freeze

  def test_a_restart_loses_no_fiber
    RESTARTS.each do |signal, mode, words, done|
      start("#{words}rserve { fiber_routes \"/ai/*\" }", *mode)
      waiting = hold(200)
      mark = server.mark
      server.signal_taken(signal)
      server.wait_for_log(done, after: mark, timeout: 40) if words.include?("overlap")
      open_gate
      assert_equal ["held"] * 200, bodies(waiting), [signal, words].inspect
      server.wait_for_log(done, after: mark, timeout: 40)
      assert_equal "held nothing", get("/ai/quick").body
    end
  end

  def test_patience_with_fibers_ends
    start("force_shutdown_after 0.5\nrserve { fiber_routes \"/ai/*\" }")
    waiting = hold(20)
    server.signal(:TERM)
    assert_equal([503] * 20, waiting.map { |reader| reader.receive.status })
    assert_exits :TERM
  end

  def test_time_outs_of_requests
    start("rserve { fiber_routes \"/ai/*\", max: 1; request_timeout 0.2, hard: 0.6 }")
    waiting = hold(1)
    assert_log(%r{GET /ai/hold has been in the application for \S+ s, on thread "puma srv fibers":\n.*app\.ru:\d+:in}m)
    assert_equal 504, waiting.first.receive.status
    assert_equal "held nothing", get("/ai/quick").body, "one that hangs takes nobody's place"
    open_gate
    server.wait_until("it comes back", 10) { figures == [0, 0, 1] }
    start("rserve { fiber_routes \"/ai/*\"; stuck_after 0.1 }")
    close_gate
    waiting = hold(1)
    sleep 0.4
    open_gate
    bodies(waiting)
    refute_log(/in the application/)
  end

  def test_under_stress_of_the_collector
    start(nil, before: GcStress::AFTER_THE_APPLICATION)
    paths = %w[/ai/quick /ai/each /ai/call /ai/local /ai/who /ai/raise]
    at(1, *paths).each { |response| assert_includes [200, 500], response.status }
    start(nil, before: "GC.auto_compact = true\n")
    waiting = hold(50)
    get("/collect")
    open_gate
    assert_equal ["held"] * 50, bodies(waiting)
  end

  def test_http2
    start("rserve { fiber_routes \"/ai/*\"; http2 }")
    client = Http2Client.new(server.connect)
    streams = Array.new(20) { |number| client.begin_request(number.even? ? "/ai/hold" : "/hello") }
    server.wait_until("they wait", 10) { marks == 10 }
    assert_equal "hello", client.await(streams[1]).body
    open_gate
    assert_equal([200] * 20, streams.map { |stream| client.await(stream).status })
  ensure
    client&.close
  end

  def test_a_thread_that_the_application_ends_is_replaced
    start
    ask("/ai/kill")
    assert_log(/another one takes its place/)
    assert_equal "held nothing", get("/ai/quick").body
  end

  def test_sinatra
    skip "not here: sinatra" unless there?("sinatra/base")
    start(nil, app: <<~'RUBY')
      require "sinatra/base"
      run(Class.new(Sinatra::Base) do
        set :host_authorization, {}
        get("/ai/page") { sleep 0.05; erb "Hello <%= params[:name] %>" }
      end)
    RUBY
    pages = Array.new(9) { |name| ask("/ai/page?name=#{name}") }
    assert_equal Array.new(9) { |name| "Hello #{name}" }, bodies(pages)
  end
end
