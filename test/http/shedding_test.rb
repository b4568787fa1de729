# frozen_string_literal: true

require "json"
require "openssl"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"

# Requests that are turned away instead of waiting for a thread: by the core, whatever Ruby's threads do.
class SheddingTest < ServerCase
  parallelize_me!

  # `/first` keeps its thread until the file exists, for longer than a request waits whose client is not asked for, and
  # tells how many wait; every request that reaches the application is told.
  APP = <<~'RUBY'
    run lambda { |env|
      body = env["rack.input"].read.to_s
      warn "begun #{env["REQUEST_METHOD"]} #{env["REQUEST_URI"]}"
      if env["PATH_INFO"] == "/first"
        told = 0
        until File.exist?(ENV.fetch("GO"))
          sleep 0.01
          waiting = Puma::Server.current.backlog
          warn "#{waiting} wait" if waiting != told
          told = waiting
        end
        sleep 0.1
      end
      sleep 0.05 if env["PATH_INFO"] == "/work"
      [200, {}, [body.empty? ? env["REQUEST_URI"] : body]]
    }
  RUBY
  TIME = "rserve { queue_time_limit 0.3; shed_exempt '/up', '/health/*' }\n"

  def test_in_a_single_process
    start(TIME)
    assert_turned_away { server.connect }
  end

  def test_in_a_cluster
    start(TIME, "-w", "2", "-t", "1:1", busy: 0)
    # Each worker has one request: there is no thread left.
    firsts = occupy(2)
    assert_turned_away(firsts) { server.connect }
  end

  def test_over_a_unix_socket
    path = File.join(folder, "server.sock")
    start(TIME, "-b", "unix://#{path}")
    assert_turned_away { UNIXSocket.new(path) }
  end

  def test_tls
    cert, key = Certificates.new(folder).issue("localhost")
    port = UniquePort.call
    start(TIME, "-b", "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}")
    assert_turned_away do
      OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).tap do |client|
        client.sync_close = true
        client.connect
      end
    end
  end

  def test_what_the_answer_says
    { "" => %w[Retry-After Connection], "puma_compat 8\n" => %w[retry-after connection] }.each do |level, names|
      start(level + TIME)
      closed = request("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
      assert_equal [503, "1", "close", "0"],
                   [closed.status, closed["Retry-After"], closed["Connection"], closed["Content-Length"]]
      assert_match(/GMT\z/, closed["Date"])
      assert_equal names, closed.fields.map(&:first) & names

      old = request("GET /b HTTP/1.0\r\n\r\n")
      assert_equal ["HTTP/1.0 503 Service Unavailable", nil], [old.head.lines(chomp: true).first, old["Connection"]]
      kept = request("GET /c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      assert_equal [503, "keep-alive"], [kept.status, kept["Connection"].downcase]
      assert_equal 503, request("HEAD /d HTTP/1.1\r\nHost: h\r\n\r\n", head_only: true).status
      server.exchange("GET / HTTP/1.1 \r\nbad\r\n\r\n") do |reader|
        assert_equal 503, reader.receive.status
        assert reader.closed?, "nobody knows where the next request begins"
      end
      release
    end
  end

  def test_with_a_full_queue_the_answer_comes_at_once_and_who_waits_is_served
    start("rserve { queue_limit 2; shed_exempt '/up' }\n")
    waiting = %w[/a /b].map { |path| send_to(server.connect, get_of(path)) }
    assert_log(/^2 wait/)
    exempt = send_to(server.connect, get_of("/up"))
    assert_log(/^3 wait/)
    server.exchange(get_of("/c") * 3) do |reader|
      assert_equal([503] * 3, Array.new(3) { reader.receive.status })
    end
    # What is still being received waits for nobody.
    upload = send_to(server.connect, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo")
    release
    assert_equal(%w[/a /b /up], [*waiting, exempt].map { |client| ResponseReader.new(client).receive.body })
    upload.write("dy")
    assert_equal "body", ResponseReader.new(upload).receive.body
    assert_equal ["GET /first", "GET /a", "GET /b", "GET /up", "POST /body"].sort, begun.sort
  ensure
    [*waiting, exempt, upload].compact.each(&:close)
  end

  def test_without_a_place_in_the_queue_who_finds_no_thread_is_turned_away
    start("rserve { queue_limit 0 }\n", "-t", "2:2", busy: 2)
    assert_equal 503, get("/none").status
    release
    assert_equal ["GET /first"] * 2, begun
  end

  # Much more at once than the threads can do in the time: everybody is answered, and who was turned away has cost no
  # thread anything. Without a limit all of them wait.
  def test_under_overload_what_is_served_was_served_in_time
    { "" => 200, "queue_time_limit 0.4; " => 503 }.each do |limit, last|
      start("rserve { #{limit}access_log #{(log = File.join(folder, "access")).inspect}; log_format :json }\n",
            "-t", "2:2", busy: 0)
      clients = Array.new(60) { send_to(server.connect, get_of("/work")) }
      statuses = clients.map { |client| ResponseReader.new(client).receive(timeout: 60).status }
      assert_equal [200, last].uniq, statuses.uniq.sort
      assert_equal statuses.count(200), begun.size
      lines = lines_of(log, 60)
      turned_away = lines.select { |line| line["shed"] }
      assert_equal statuses.count(503), turned_away.size
      told = turned_away.map { |line| line.values_at("status", "shed", "complete") }
      assert_equal [[503, "queue_time", true]] * turned_away.size, told
      turned_away.each { |line| assert_operator line["queue_ms"], :>=, 400 }
      assert_operator lines.reject { |line| line["shed"] }.map { |line| line["queue_ms"] }.max, :>, 1000 if limit.empty?
    ensure
      clients&.each(&:close)
    end
  end

  def test_who_has_gone_is_told_of_as_such
    log = File.join(folder, "access")
    start("rserve { queue_time_limit 30; access_log #{log.inspect}; log_format :json }\n")
    client = send_to(server.connect, get_of("/gone"))
    assert_log(/^1 wait/)
    client.setsockopt(Socket::Option.linger(true, 0))
    client.close
    release
    assert_equal "/next", get("/next").body
    gone = lines_of(log, 3).find { |line| line["path"] == "/gone" }
    assert_equal ["client_gone", nil, false], gone.values_at("shed", "status", "complete")
    assert_equal ["GET /first", "GET /next"], begun
  end

  private

  # A server whose threads all have a request.
  def start(config, *arguments, busy: 1)
    @go = File.join(folder, "go")
    spawn_server("-t", "1:1", *arguments, app: file("app.ru", APP), config:, env: { "GO" => @go })
    @firsts = occupy(busy)
  end

  def occupy(count)
    (1..count).map do |number|
      client = send_to(server.connect, get_of("/first"))
      server.wait_until("#{number} begun", 20) { begun.size >= number }
      client
    end
  end

  # Its threads go on.
  def release
    File.write(@go, "")
    @firsts.each { |first| assert_equal 200, ResponseReader.new(first).receive(timeout: 20).status }
  ensure
    @firsts.each(&:close)
  end

  def assert_turned_away(firsts = @firsts)
    @firsts = firsts
    before = begun.size
    up = %w[/up /health/db].map { |path| send_to(yield, get_of(path)) }
    client = yield
    reader = ResponseReader.new(client)
    # The body was read, so the connection can be kept; each waits for its own time.
    send_to(client, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody#{get_of("/piped")}")
    2.times do
      answer = reader.receive(timeout: 20)
      assert_equal [503, "1", nil, ""], [answer.status, answer["Retry-After"], answer["Connection"], answer.body]
    end
    send_to(client, get_of("/again"))
    assert_equal 503, reader.receive(timeout: 20).status
    assert_equal before, begun.size, "none of them reached the application"

    release
    assert_equal(%w[/up /health/db], up.map { |it| ResponseReader.new(it).receive(timeout: 20).body })
    send_to(client, get_of("/later"))
    assert_equal "/later", reader.receive(timeout: 20).body
  ensure
    [*up, client].compact.each(&:close)
  end

  def get_of(target) = "GET #{target} HTTP/1.1\r\nHost: h\r\n\r\n"
  def send_to(client, octets) = client.tap { client.write(octets) }
  def begun = server.log.scan(/^(?:\[\d+\] )?begun (\S+ \S+)/).flatten

  def lines_of(path, count)
    server.wait_until("#{count} lines", 20) { File.readlines(path).size >= count }
    File.readlines(path).map { |line| JSON.parse(line) }
  end
end
