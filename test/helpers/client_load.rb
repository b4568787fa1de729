# frozen_string_literal: true

require "socket"
require_relative "response_reader"

# Clients that ask again and again until they are told to stop, and count how it went.
class ClientLoad
  # @param server [ServerProcess]
  # @param keep_alive [Integer] clients that keep their connection while the server does
  # @param fresh [Integer] clients with a new connection for each request
  # @param target [String] what they ask for
  # @param body [String] what they send with it
  # @param pause [Float] seconds between the requests of a client
  def initialize(server, keep_alive: 0, fresh: 0, target: "/", body: nil, pause: 0.002)
    @server = server
    length = "Content-Length: #{body.bytesize}\r\n" if body
    @request = "#{body ? "POST" : "GET"} #{target} HTTP/1.1\r\nHost: localhost\r\n#{length}\r\n#{body}"
    @pause = pause
    @results = Queue.new
    @stop = false
    @clients = Array.new(keep_alive) { Thread.new { keep_asking } } + Array.new(fresh) { Thread.new { ask_afresh } }
  end

  # @return [Hash] :answered and what else happened, with how often
  def stop
    @stop = true
    @clients.each(&:join)
    Array.new(@results.size) { @results.pop }.tally
  end

  # How many requests have been answered or not so far.
  def asked = @results.size

  private

  def ask_afresh
    until @stop
      connect { |socket, reader| exchange(socket, reader, "fresh") }
      sleep @pause
    end
  end

  def keep_asking
    until @stop
      connect do |socket, reader|
        sleep @pause while exchange(socket, reader, "keep-alive") == :stays && !@stop
      end
    end
  end

  def connect
    socket = @server.connect
    yield socket, ResponseReader.new(socket)
  rescue Errno::ECONNREFUSED, Errno::ENOENT
    @results << "refused"
    sleep 0.01
  ensure
    socket&.close
  end

  # @return [Symbol] whether the connection :stays or :ends
  def exchange(socket, reader, kind)
    socket.write(@request)
    response = reader.receive
    @results << (response.status == 200 ? "answered" : "#{kind}: status #{response.status}")
    response["Connection"].to_s.casecmp?("close") ? :ends : :stays
  rescue Errno::ECONNRESET, Errno::EPIPE, EOFError, Timeout::Error => e
    @results << "#{kind}: #{e.class}"
    :ends
  end
end
