# frozen_string_literal: true

require "digest"
require_relative "../helpers/server_case"

# The example apps in rackup/ do what they say.
class AppsTest < ServerCase
  parallelize_me!

  def test_env
    spawn_server app: "rackup/env.ru"
    body = get("/some/path?a=b", headers: { "X-Whatever" => "yes" }).body
    assert_match(/^QUERY_STRING +"a=b"$/, body)
    assert_match(/^HTTP_X_WHATEVER +"yes"$/, body)
    assert_match(%r{^PATH_INFO +"/some/path"$}, body)
  end

  def test_streaming
    spawn_server app: "rackup/streaming.ru"
    server.exchange("GET /?lines=2&every=2 HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader, socket|
      assert socket.wait_readable(Patience.for(5))
      refute_includes socket.recv(1000, Socket::MSG_PEEK), "line 1", "sent only when the last line was made"
      assert_equal "line 0\nline 1\n", reader.receive.body
    end
  end

  def test_sse
    spawn_server app: "rackup/sse.ru"
    assert_includes get("/").body, "EventSource"
    events = get("/events")
    assert_equal "text/event-stream", events["Content-Type"]
    assert_equal %w[0 1 2 3 4], events.body.scan(/^id: (\d)$/).flatten
  end

  def test_upload
    spawn_server app: "rackup/upload.ru"
    assert_includes get("/").body, "<form"
    body = Random.bytes(1_000_000)
    response = request("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}".b)
    assert_equal "1000000 octets, SHA-256 #{Digest::SHA256.hexdigest(body)}\n", response.body
  end

  def test_hijack
    spawn_server app: "rackup/hijack.ru"
    server.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader, socket|
      assert_equal 101, reader.receive.status
      socket.write("hello\nbye\n")
      assert_equal "you said hello\nyou said bye\n", socket.read
    end
    server.exchange("GET /partial HTTP/1.1\r\nHost: localhost\r\n\r\n") do |_, socket|
      head, rest = socket.read.split("\r\n\r\n", 2)
      assert_match(%r{^content-type: text/plain\r?$}i, head)
      refute_match(/rack\.hijack/, head)
      assert_equal "the rest is the app's\n", rest
    end
  end

  def test_early_hints
    spawn_server "--early-hints", app: "rackup/early_hints.ru"
    response = get("/")
    assert_equal 200, response.status
    assert_match(%r{\AHTTP/1\.1 103 .*\r\nlink: </style\.css>; rel=preload; as=style\z}im, response.informational.first)
  end

  def test_slow
    spawn_server app: "rackup/slow.ru"
    assert_equal "sleep 0.1\n", get("/sleep/0.1").body
    assert_equal "cpu 0.1\n", get("/cpu/0.1").body
  end

  def test_crash_costs_the_request_and_nothing_else
    spawn_server "-t", "2:2", app: "rackup/crash.ru"
    %w[/raise /throw /no-response /exit].each do |path|
      assert_equal 500, get(path).status, path
      assert_equal "still here\n", get("/").body, "after #{path}"
    end
    assert_log(/this app raises/)
  end

  def test_crash_in_a_body_cuts_the_response
    spawn_server app: "rackup/crash.ru"
    assert_raises(EOFError) { get("/body") }
    assert_equal "still here\n", get("/").body
  end

  def test_crash_of_a_header_never_splits_the_response
    spawn_server app: "rackup/crash.ru"
    response = get("/bad-header")
    refute(response.fields.any? { |name, _| name == "two" }, response.head)
    assert_equal "still here\n", get("/").body
  end

  def test_crash_of_a_thread_leaves_enough_threads
    spawn_server "-t", "2:2", app: "rackup/crash.ru"
    5.times do
      server.exchange("GET /kill-thread HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader|
        assert_equal 500, reader.receive.status
      rescue EOFError, Errno::ECONNRESET
        pass # no answer, but the connection is not left hanging
      end
    end
    5.times { assert_equal "still here\n", get("/").body }
  end
end
