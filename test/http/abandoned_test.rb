# frozen_string_literal: true

require "openssl"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"
require_relative "answers"

# Requests whose clients have gone are not begun; those of clients that only closed their half are answered.
class AbandonedTest < ServerCase
  parallelize_me!

  # The only thread is kept until the file exists that the query names, and for longer than a request waits unasked.
  APP = <<~'RUBY'
    run lambda { |env|
      warn "begun #{env["REQUEST_URI"]}"
      if env["PATH_INFO"] == "/first"
        wanted = env["QUERY_STRING"].to_i
        sleep 0.01 until Puma::Server.current.backlog >= wanted
        warn "all are there"
        sleep 0.01 until File.exist?(ENV.fetch("GO"))
        sleep 0.1
      end
      [200, {}, [env["REQUEST_URI"]]]
    }
  RUBY

  GONE = 40

  def test_plain
    start
    assert_abandoned { server.connect }
  end

  def test_in_a_cluster
    start("-w", "1")
    assert_abandoned { server.connect }
  end

  def test_over_a_unix_socket
    path = File.join(folder, "server.sock")
    start("-b", "unix://#{path}")
    assert_abandoned { UNIXSocket.new(path) }
  end

  def test_tls
    cert, key = Certificates.new(folder).issue("localhost")
    port = UniquePort.call
    start("-b", "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}")
    assert_abandoned { tls(port) }
  end

  # On HTTP/1.0 there is no interim response to ask with.
  def test_http_1_0
    start
    assert_begun(1) do
      client = send_to(server.connect, "GET /old HTTP/1.0\r\n\r\n")
      client.close_write
      [client]
    end => [client]
    assert_match(%r{\AHTTP/1.0 200 OK\r\n.*/old\z}m, client.read)
  ensure
    client&.close
  end

  private

  def start(*arguments)
    @go = File.join(folder, "go")
    spawn_server "-t", "1:1", *arguments, app: file("app.ru", APP), env: { "GO" => @go }
  end

  def assert_abandoned(&connect)
    half = []
    assert_begun((3 * GONE) + 3) do
      closed = Array.new(GONE) { |index| send_to(connect.call, get_of("/closed/#{index}")) }.each(&:close)
      # What follows on the connection is abandoned, too.
      Array.new(GONE) { |index| send_to(connect.call, get_of("/two/#{index}") * 2) }.each(&:close)
      half = Array.new(3) do |index|
        send_to(connect.call, "/a /b /c".split.map { |path| get_of("/half/#{index}#{path}") }.join)
      end
      half.each { |client| half_close(client) }
      @resets = Array.new(GONE) { |index| send_to(connect.call, get_of("/reset/#{index}")) }
      closed
    end
    half.each_with_index { |client, index| assert_answered(client, "/half/#{index}") }
    assert_equal 200, answer_of(send_to(connect.call, get_of("/last"))).status
    begun = server.log.scan(/^(?:\[\d+\] )?begun (\S+)/).flatten
    assert_equal 1 + 9 + 1, begun.size, begun.inspect
  ensure
    half.each(&:close)
  end

  # The block's clients send `wanted` requests while the only thread is busy, and then it goes on.
  def assert_begun(wanted)
    first = send_to(server.connect, get_of("/first?#{wanted}"))
    assert_log(%r{begun /first})
    clients = yield
    assert_log(/all are there/)
    @resets&.each { |client| reset(client) }
    File.write(@go, "")
    assert_equal 200, answer_of(first).status
    clients
  ensure
    first&.close
  end

  def get_of(target) = "GET #{target} HTTP/1.1\r\nHost: h\r\n\r\n"

  def send_to(client, octets) = client.tap { client.write(octets) }

  def tls(port)
    OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).tap do |client|
      client.sync_close = true
      client.connect
    end
  end

  # With TLS the connection below it: OpenSSL has no word for it.
  def half_close(client) = client.to_io.close_write

  def reset(client)
    socket = client.to_io
    socket.setsockopt(Socket::Option.linger(true, 0)) unless socket.is_a?(UNIXSocket)
    socket.close
  end

  def answer_of(client) = ResponseReader.new(client).receive(timeout: 30)

  # Three requests were sent on it: the answers are all there, and then the end.
  def assert_answered(client, target)
    octets = +"".b
    begin
      loop { octets << client.readpartial(10_000) }
    rescue EOFError, OpenSSL::SSL::SSLError
      nil
    end
    answers = Answers.read(octets, %w[GET GET GET]).answers.reject { |answer| answer.status == 100 }
    assert_equal(%w[/a /b /c].map { |path| target + path }, answers.map(&:body), octets)
  end
end
