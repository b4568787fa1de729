# frozen_string_literal: true

require_relative "http2_case"
require "digest"

# What an application sees of a request by HTTP/2, and what its client sees of the response.
class Http2RequestsTest < Http2Case
  parallelize_me!

  APP = <<~'RUBY'
    require "digest"
    require "json"
    KEPT = []
    run lambda { |env|
      case env["PATH_INFO"]
      when "/env" then [200, {}, [env.select { |_, value| value.is_a?(String) || value == false || value == true }.to_json]]
      when "/echo" then [200, { "content-length" => env["rack.input"].size.to_s }, [env["rack.input"].read]]
      when "/digest" then [200, {}, [Digest::MD5.hexdigest(env["rack.input"].read)]]
      when "/status" then [Integer(env["QUERY_STRING"]), { "x-a" => "b" }, ["body"]]
      when "/fields" then [200, { "X-Mixed" => "A", "set-cookie" => "a=1\nb=2", "Connection" => "close", "Keep-Alive" => "5",
                                  "Upgrade" => "h2c", "x-bad" => "a\r\nx-worse: b" }, ["body"]]
      when "/chunks" then [200, { "transfer-encoding" => "chunked" }, ["5\r\nhello\r\n", "0\r\n\r\n"]]
      when "/each" then [200, {}, Enumerator.new { |parts| 300.times { |n| parts << "#{n}," * 100 } }]
      when "/large" then [200, {}, ["x" * 3_000_000]]
      when "/file" then [200, {}, File.open(ENV.fetch("LARGE"))]
      when "/stream" then [200, {}, ->(stream) { stream << "a"; Thread.new { sleep 0.05; stream << "b"; stream.close } }]
      when "/partial" then [200, { "rack.hijack" => ->(stream) { stream.write("hijacked"); stream.close } }, []]
      when "/hijack" then begin
        env["puma.socket"].call
        [200, {}, ["taken"]]
      rescue IOError => e
        [200, {}, ["refused: #{e.class}"]]
      end
      when "/hints"
        env["rack.early_hints"].call("link" => "</a.css>; rel=preload")
        env["rack.early_hints"].call("link" => "</b.css>; rel=preload")
        [200, {}, ["body"]]
      when "/short" then [200, { "content-length" => "10" }, ["body"]]
      when "/broken" then [200, {}, Enumerator.new { |parts| parts << "half"; raise "broken" }]
      when "/raise" then raise "raised"
      when "/after" then (env["rack.after_reply"] << -> { KEPT << 1 }) && [200, {}, [KEPT.size.to_s]]
      when "/slow" then sleep(0.2) && [200, {}, ["slow"]]
      else [200, { "content-type" => "text/plain" }, ["Hello"]]
      end
    }
  RUBY

  ENV_OF_A_REQUEST = {
    "SERVER_PROTOCOL" => "HTTP/2", "HTTP_VERSION" => "HTTP/2", "HTTP_HOST" => "localhost", "SERVER_NAME" => "localhost",
    "SERVER_PORT" => "80", "REQUEST_METHOD" => "GET", "PATH_INFO" => "/env", "REQUEST_PATH" => "/env",
    "REQUEST_URI" => "/env?a=b", "QUERY_STRING" => "a=b", "SCRIPT_NAME" => "", "HTTP_COOKIE" => "a=1; b=2",
    "HTTP_X_A" => "1, 2", "REMOTE_ADDR" => "127.0.0.1", "rack.url_scheme" => "http", "rack.hijack?" => false
  }.freeze

  def test_the_environment
    start APP
    fields = [%w[cookie a=1], %w[x-a 1], %w[cookie b=2], %w[x-a 2]]
    env = JSON.parse(open_client.request("/env?a=b", fields:).body)
    assert_equal ENV_OF_A_REQUEST, env.slice(*ENV_OF_A_REQUEST.keys)
    assert_empty env.keys & %w[CONTENT_LENGTH HTTP_TRANSFER_ENCODING rack.hijack HTTP_CONTENT_LENGTH]
  end

  def test_a_body_has_a_length_whether_the_client_says_so_or_not
    start APP
    assert_equal "5", JSON.parse(open_client.request("/env", method: "POST", body: "hello").body)["CONTENT_LENGTH"]
    told = open_client.request("/env", method: "POST", body: "hello", fields: [%w[content-length 5]])
    assert_equal "5", JSON.parse(told.body)["CONTENT_LENGTH"]
  end

  def test_responses_of_every_kind
    start APP, env: { "LARGE" => large = file("large", "file" * 400_000) }
    client = open_client
    client.open_window(1 << 30)
    client.write(Http2Frames.settings(4 => 1 << 20))
    { "/" => "Hello", "/each" => (0...300).map { |n| "#{n}," * 100 }.join, "/chunks" => "hello",
      "/stream" => "ab", "/partial" => "hijacked", "/hijack" => "refused: IOError" }.each do |path, body|
      answer = client.request(path)
      assert_equal [200, body, nil], [answer.status, answer.body, answer.reset], path
    end
    assert_equal "Hello".bytesize.to_s, client.request("/")["content-length"]
    [["/large", "x" * 3_000_000], ["/file", File.read(large)]].each do |path, body|
      stream = client.begin_request(path)
      client.open_window(1 << 22, stream:)
      assert_equal Digest::MD5.hexdigest(body), Digest::MD5.hexdigest(client.await(stream).body), path
    end
  end

  def test_responses_without_a_body
    start APP
    client = open_client
    head = client.request("/", method: "HEAD")
    assert_equal [200, "5", ""], [head.status, head["content-length"], head.body]
    [204, 304, 205].each do |status|
      answer = client.request("/status?#{status}")
      assert_equal [status, "", "b", nil], [answer.status, answer.body, answer["x-a"], answer.reset]
    end
    missing = client.request("/status?404")
    assert_equal [404, "body"], [missing.status, missing.body]
  end

  def test_fields_of_a_response
    start APP
    answer = open_client.request("/fields")
    assert_equal "A", answer["x-mixed"]
    assert_equal %w[a=1 b=2], answer["set-cookie"]
    assert_match(/ GMT\z/, answer["date"])
    assert_empty answer.heads.last.map(&:first) & %w[connection keep-alive upgrade transfer-encoding x-worse]
  end

  def test_what_goes_wrong_in_the_application
    start APP
    client = open_client
    assert_equal 500, client.request("/raise").status
    broken = client.request("/broken")
    assert_equal [200, "half", :internal_error], [broken.status, broken.body, broken.reset]
    assert_equal :internal_error, client.request("/short").reset
    assert_equal :internal_error, client.request("/status?101").reset, "there is no 101"
    assert_equal 200, client.request("/").status
    assert_empty client.goaways
  end

  def test_early_hints
    start APP, "--early-hints"
    answer = open_client.request("/hints")
    assert_equal [103, 103, 200], answer.statuses
    assert_equal "</a.css>; rel=preload", answer.heads.first.assoc("link").last
    assert_equal "body", answer.body
  end

  def test_100_continue
    start APP
    client = open_client
    stream = client.begin_request("/echo", method: "POST", fields: [%w[expect 100-continue]], ended: false)
    client.read_until(10) { client.answers[stream].heads.any? }
    client.write(Http2Frames.data(stream, "hello"))
    answer = client.await(stream)
    assert_equal [[100, 200], "hello"], [answer.statuses, answer.body]
  end

  def test_bodies_large_and_small_at_the_same_time
    start APP
    client = open_client
    parts = Array.new(300) { |n| [n].pack("N") * 1000 }
    streams = Array.new(4) { client.begin_request("/digest", method: "POST", ended: false) }
    # Within the windows that a client has before it reads.
    parts.each_slice(3) do |some|
      streams.each { |stream| some.each { |part| client.write(Http2Frames.data(stream, part, 0)) } }
      client.sync
    end
    client.write(streams.map { |stream| Http2Frames.data(stream, "") }.join)
    streams.each { |stream| assert_equal Digest::MD5.hexdigest(parts.join), client.await(stream).body }
  end

  def test_a_hundred_requests_at_a_time
    start APP, config: "max_keep_alive Float::INFINITY\n"
    client = open_client
    20.times do
      streams = Array.new(100) { client.begin_request("/") }
      streams.each { |stream| assert_equal "Hello", client.await(stream).body }
    end
    assert_empty client.goaways
  end

  # A response waits neither for one that takes longer nor for one that the client does not read.
  def test_streams_do_not_wait_for_each_other
    start APP
    client = open_client
    slow = client.begin_request("/slow")
    large = Array.new(5) { client.begin_request("/large") }
    large.each { |stream| client.read_until(10) { client.answers[stream].heads.any? } }
    assert_equal 200, client.request("/", method: "HEAD").status
    refute large.any? { |stream| client.ended?(stream) }, "their windows are full"
    assert_equal "Hello", open_client.request("/").body
    client.open_window(1 << 28)
    assert_equal "slow", client.await(slow).body
    client.write(large.map { |stream| Http2Frames.window_update(stream, 1 << 28) }.join)
    large.each { |stream| assert_equal 3_000_000, client.await(stream).body.bytesize }
  end

  def test_limits_of_requests_are_those_of_http_1
    start APP, config: "http_content_length_limit 10\n"
    client = open_client
    assert_equal 413, client.request("/echo", method: "POST", body: "x" * 11).status
    told = client.begin_request("/echo", method: "POST", fields: [%w[content-length 11]], ended: false)
    assert_equal 413, client.await(told).status
    assert_equal "x" * 10, client.request("/echo", method: "POST", body: "x" * 10).body
    assert_equal 414, client.request("/#{"x" * 9000}").status
    assert_equal 431, client.request("/", fields: [["x" * 300, "y"]]).status
    assert_equal 200, client.request("/").status
    assert_empty client.goaways
  end

  def test_the_rest_of_a_refused_body_is_thrown_away
    start APP, config: "http_content_length_limit 10\n"
    client = open_client
    stream = client.begin_request("/echo", method: "POST", ended: false)
    client.write(Http2Frames.data(stream, "x" * 11, 0))
    assert_equal 413, client.await(stream).status
    client.write(Http2Frames.data(stream, "x" * 1000, 0) + Http2Frames.data(stream, "x"))
    client.sync
    assert_equal 200, client.request("/").status
  end

  def test_rack_lint_has_nothing_to_say
    start <<~RUBY
      require "rack"
      require "rack/lint"
      use Rack::Lint
      run ->(env) { [200, { "content-type" => "text/plain" }, [env["rack.input"]&.read.to_s, "linted"]] }
    RUBY
    client = open_client
    assert_equal "linted", client.request("/a?b").body
    assert_equal "bodylinted", client.request("/a?b", method: "POST", body: "body").body
    assert_equal "linted", client.request("/", fields: [%w[cookie a=b], %w[cookie c=d]]).body
  end

  def test_under_the_stress_of_the_garbage_collector
    start <<~RUBY
      run lambda { |env|
        GC.stress = true
        parts = Enumerator.new { |yielder| 20.times { |n| yielder << n.to_s } }
        [200, { "x-a" => "b", "set-cookie" => %w[a b].join("\\n") }, parts]
      }
      at_exit { GC.stress = false }
    RUBY
    client = open_client
    3.times { assert_equal (0...20).to_a.join, client.request("/").body }
  end

  def test_the_access_log_and_the_figures_count_requests
    start APP, config: <<~RUBY
      rserve { access_log; telemetry }
      activate_control_app "tcp://127.0.0.1:#{port = UniquePort.call}", no_token: true
    RUBY
    client = open_client
    3.times { client.request("/env?a", fields: [%w[user-agent me]]) }
    client.sync
    line = server.wait_for_log(%r{.*path="/env".*})[0]
    assert_match(%r{method="GET" host="localhost".*status=200 complete=true.*proto="HTTP/2".*user_agent="me"}, line)
    # The last one counts when its thread is done with it.
    server.wait_until("three are counted", 10) { metrics(port).match?(/network_protocol_version="2".* 3$/) }
  end

  def metrics(port)
    TCPSocket.open("127.0.0.1", port) do |socket|
      socket.write("GET /metrics HTTP/1.0\r\n\r\n")
      socket.read
    end
  end

  def test_off_unless_asked_for
    spawn_server app: file("app.ru", APP)
    socket = server.connect
    socket.write(Http2Frames::PREFACE)
    assert_match(%r{\AHTTP/1.0 501}, socket.read)
  ensure
    socket&.close
  end

  def test_http_1_beside_it
    start APP
    assert_equal "Hello", get("/").body
    assert_equal 501, request("PRI / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status
    assert_match(%r{"SERVER_PROTOCOL":"HTTP/1.1"}, get("/env").body)
    socket = server.connect
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n".each_char { |octet| socket.write(octet) }
    assert_equal "Hello", ResponseReader.new(socket).receive.body
  ensure
    socket&.close
  end
end
