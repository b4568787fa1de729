# frozen_string_literal: true

require "socket"
require_relative "latencies"

# Clients of WebSockets, each of which says something and says it again as soon as it has come back.
class WebSocketClient
  TEXT = "as much as a line of a chat has, or a little more, so that it is 64"
  # RFC 6455 5.2: the last part of a text, masked with zeros; and what comes back.
  SAID = [0x81, 0x80 | TEXT.bytesize, 0, TEXT].pack("CCNa*").freeze
  HEARD = [0x81, TEXT.bytesize, TEXT].pack("CCa*").freeze
  private_constant :TEXT, :SAID, :HEARD

  # @return [Hash] requests, seconds, errors, p50, p99, p999 (ms)
  def run(server, workload, seconds)
    sockets = Array.new(workload[:connections]) { upgrade(server.port, workload[:path]) }
    said = sockets.to_h { |socket| [socket, say(socket)] }
    times = []
    errors = 0
    deadline = now + seconds
    while now < deadline
      IO.select(sockets, nil, nil, 0.1)&.first&.each do |socket|
        errors += 1 unless socket.readpartial(4096) == HEARD
        times << ((now - said[socket]) * 1e3)
        said[socket] = say(socket)
      end
    end
    { requests: times.size, seconds:, errors:, **Latencies.summary(times) }
  ensure
    sockets&.each(&:close)
  end

  private

  def upgrade(port, path)
    socket = TCPSocket.new("127.0.0.1", port)
    socket.setsockopt(:TCP, :NODELAY, true)
    socket.write("GET #{path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    answer = socket.gets("\r\n\r\n").to_s
    abort "no WebSocket: #{answer}" unless answer.start_with?("HTTP/1.1 101")
    socket
  end

  def say(socket) = now.tap { socket.write(SAID) }
  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
