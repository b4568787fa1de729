# frozen_string_literal: true

require "openssl"
require "socket"
require_relative "latencies"

# A client that begins a new TLS session for each request, on a number of connections. (wrk resumes the last one, which
# saves the server most of the handshake.)
class HandshakeClient
  # The same key exchange of all servers. From OpenSSL 3.5 on clients offer X25519MLKEM768, too, which servers that use
  # OpenSSL take and others do not know; the curve of TLS 1.2 comes after it.
  GROUPS = "X25519:P-256"
  private_constant :GROUPS

  # @return [Hash] requests, seconds, errors (failed requests), p50, p99, p999 (ms)
  def run(server, workload, seconds)
    @port = server.port
    @request = "GET #{workload[:path]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ends = now + seconds
    times = Array.new(workload[:connections]) { Thread.new { ask_until(ends) } }.flat_map(&:value)
    answered = times.compact
    { requests: answered.size, seconds:, errors: times.size - answered.size, **Latencies.summary(answered) }
  end

  private

  # @return [Array<Float, nil>] milliseconds of each request; nil for one that failed
  def ask_until(ends)
    context = OpenSSL::SSL::SSLContext.new
    context.ecdh_curves = GROUPS
    times = []
    while (began = now) < ends
      answered = answered?(context)
      times << ((now - began) * 1e3 if answered)
    end
    times
  end

  def answered?(context)
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @port), context)
    tls.sync_close = true
    tls.connect
    tls.write(@request)
    tls.read.start_with?("HTTP/1.1 200")
  rescue SystemCallError, OpenSSL::SSL::SSLError
    false
  ensure
    tls&.close
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
