# frozen_string_literal: true

require_relative "../helpers/server_case"

# HTTP/1.1 as a client sees it on real sockets.
class ConnectionTest < ServerCase
  parallelize_me!

  ECHO = <<~'RUBY'
    run lambda { |env|
      body = env["rack.input"]&.read.to_s
      [200, { "content-type" => "text/plain" }, ["#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]} #{body.bytesize} #{body.sum}"]]
    }
  RUBY

  def setup
    super
    spawn_server "-t", "1:2", app: file("echo.ru", ECHO)
  end

  def test_many_requests_on_one_connection
    server.exchange("") do |reader, socket|
      100.times do |number|
        socket.write("GET /#{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert_equal "GET /#{number} 0 0", reader.receive.body
      end
    end
  end

  def test_pipelined_requests_are_answered_in_order
    requests = Array.new(20) { |number| "GET /#{number} HTTP/1.1\r\nHost: localhost\r\n\r\n" }.join
    server.exchange(requests) do |reader|
      assert_equal((0...20).map { |number| "GET /#{number} 0 0" }, Array.new(20) { reader.receive.body })
    end
  end

  def test_connection_close_is_honoured
    server.exchange("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") do |reader|
      assert_equal "close", reader.receive["Connection"]
      assert reader.closed?
    end
  end

  def test_http_1_0_closes_unless_asked_to_stay
    server.exchange("GET / HTTP/1.0\r\n\r\n") do |reader|
      assert_equal 200, reader.receive.status
      assert reader.closed?
    end
    server.exchange("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n") do |reader, socket|
      assert_match(/keep-alive/i, reader.receive["Connection"])
      socket.write("GET /again HTTP/1.0\r\n\r\n")
      assert_equal "GET /again 0 0", reader.receive.body
    end
  end

  def test_head_has_the_length_and_no_body
    server.exchange("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader|
      assert_equal "HEAD / 0 0".size.to_s, reader.receive(head_only: true)["Content-Length"]
      assert_equal "GET / 0 0", reader.receive.body
    end
  end

  def test_bodies_of_every_size
    [0, 1, 1000, 65_535, 65_536, 200_000, 3_000_000].each do |size|
      body = "b" * size
      response = request("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: #{size}\r\n\r\n#{body}")
      assert_equal "POST / #{size} #{body.sum}", response.body
    end
  end

  def test_chunked_bodies
    chunks = %w[a bb] + ["c" * 70_000]
    octets = chunks.map { |chunk| "#{chunk.bytesize.to_s(16)}\r\n#{chunk}\r\n" }.join
    response = request("PUT /c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n#{octets}0\r\n\r\n")
    assert_equal "PUT /c 70003 #{chunks.join.sum}", response.body
  end

  def test_continue_is_sent_to_who_expects_it
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    server.exchange(head) do |reader, socket|
      assert_equal "HTTP/1.1 100 Continue\r\n\r\n", socket.readpartial(100)
      socket.write("body")
      assert_equal "POST / 4 #{"body".sum}", reader.receive.body
    end
  end

  def test_a_request_that_comes_octet_by_octet
    server.exchange("") do |reader, socket|
      "POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".each_char do |octet|
        socket.write(octet)
        socket.flush
      end
      assert_equal "POST /slow 3 #{"abc".sum}", reader.receive.body
    end
  end

  # More half-sent requests than there are threads.
  def test_clients_that_dawdle_hold_nobody_up
    dawdlers = Array.new(20) { server.connect.tap { |socket| socket.write("GET /half HTTP/1.1\r\nHo") } }
    20.times { assert_equal "GET / 0 0", get("/").body }
  ensure
    dawdlers&.each(&:close)
  end

  def test_malformed_requests_get_one_answer_and_the_server_lives
    ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
     "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"].each do |octets|
      server.exchange(octets) do |reader|
        assert_equal 400, reader.receive.status, octets
        assert reader.closed?, "still open after #{octets.inspect}"
      end
    end
    assert_equal "GET / 0 0", get("/").body
  end

  def test_a_client_that_goes_away_is_forgotten
    20.times { server.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") { nil } }
    assert_equal "GET / 0 0", get("/").body
  end
end
