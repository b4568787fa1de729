# frozen_string_literal: true

module Rserve
  # One client of a {ControlServer}: handshake, head, response, and never a wait in any of them.
  class ControlConnection
    # Longest request head, in octets.
    MAX_HEAD = 16 * 1024
    REASONS = { 200 => "OK", 400 => "Bad Request", 403 => "Forbidden", 404 => "Not Found" }.freeze
    private_constant :MAX_HEAD, :REASONS

    # @return [Float] when it is given up, by the monotonic clock: each phase has so many seconds as a whole
    attr_reader :deadline

    # @param socket [BasicSocket, OpenSSL::SSL::SSLSocket] the latter before its handshake
    # @param app [#call] given `PATH_INFO` and `QUERY_STRING`
    # @param seconds [Numeric] that each phase may take
    def initialize(socket, app, seconds)
      @socket = socket
      @app = app
      @seconds = seconds
      @head = +""
      enter(socket.respond_to?(:accept_nonblock) ? :handshake : :head)
    end

    # @return [IO] to wait for
    def to_io
      @socket.to_io
    end

    # Goes on as far as it can.
    #
    # @return [:wait_readable, :wait_writable, nil] what it then waits for; nil when it is over
    def advance
      loop do
        outcome = send(@phase)
        return @waits_for = outcome unless outcome == :again
      end
    end

    # Is it waiting to write?
    def writes?
      @waits_for == :wait_writable
    end

    # Ends it, with the TLS too. A process that was forked just now may have the socket as well: shutdown(2) ends it for
    # that one, too.
    def close
      say_goodbye unless to_io.equal?(@socket)
      to_io.shutdown
    rescue SystemCallError, IOError
      nil # it is gone
    ensure
      to_io.close
    end

    # Closes what this process has of it: it was forked from the one that serves.
    def close_in_child
      to_io.close
    end

    private

    def say_goodbye
      @socket.sync_close = false
      @socket.close
    end

    def enter(phase)
      @phase = phase
      @deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + @seconds
      :again
    end

    def handshake
      outcome = @socket.accept_nonblock(exception: false)
      outcome.is_a?(Symbol) ? outcome : enter(:head)
    end

    def head
      octets = @socket.read_nonblock(MAX_HEAD, exception: false)
      return octets if octets.is_a?(Symbol)
      return if octets.nil? && @head.empty?

      @head << octets if octets
      return :again unless octets.nil? || @head.include?("\r\n\r\n") || @head.bytesize > MAX_HEAD

      @response = response
      enter(:respond)
    end

    def respond
      taken = @socket.write_nonblock(@response, exception: false)
      return taken if taken.is_a?(Symbol)

      @response = @response.byteslice(taken..)
      @response.empty? ? nil : :again
    end

    def response
      path, query = @head[%r{\A[A-Z]+ (/\S*) HTTP/1\.[01]\r\n}, 1]&.split("?", 2)
      status, headers, body =
        if path
          @app.call("REQUEST_METHOD" => "GET", "PATH_INFO" => path, "QUERY_STRING" => query.to_s)
        else
          [400, { "content-length" => "0" }, [""]]
        end
      fields = headers.map { |name, value| "#{name}: #{value}\r\n" }.join
      "HTTP/1.0 #{status} #{REASONS[status]}\r\n#{fields}Connection: close\r\n\r\n#{body.join}".b
    end
  end
end
