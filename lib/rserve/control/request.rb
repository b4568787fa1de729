# frozen_string_literal: true

require "socket"

module Rserve
  # One command to a control server: `GET /COMMAND?token=TOKEN` by HTTP/1.0 over TCP, TLS or a unix socket.
  class ControlRequest
    # The server was reached, and did not answer as a control server does.
    class Failure < StandardError
    end

    # It did not answer at all.
    class Unanswered < Failure
    end

    # Seconds that connecting and the answer may take together.
    TIMEOUT = 10

    # Does anything listen at `url`?
    #
    # @raise [SystemCallError] why not
    def self.reachable?(url, timeout: TIMEOUT)
      new(url, nil, timeout:).send(:open).close
      true
    end

    # @param url [String] `tcp://host:port`, `ssl://host:port`, `unix://path` or `unix://@name`
    # @param token [String, Integer, nil]
    # @param timeout [Numeric] seconds
    def initialize(url, token, timeout: TIMEOUT)
      @scheme, _, rest = url.partition("://")
      @address = rest.split("?").first.to_s
      @token = token
      @timeout = timeout
      @deadline = now + timeout
    end

    # @param command [String] e.g. "stats"
    # @return [Array(Integer, String)] status code and body
    # @raise [Failure]
    # @raise [SystemCallError] when there is no server at the URL
    def get(command)
      socket = open
      query = @token ? "?token=#{@token}" : ""
      socket.write("GET /#{command}#{query} HTTP/1.0\r\n\r\n")
      parse(read_all(socket))
    ensure
      socket&.close
    end

    private

    def open
      case @scheme
      when "tcp" then open_tcp
      when "unix" then open_unix
      when "ssl" then open_ssl
      else raise Failure, "Invalid control url scheme: #{@scheme}"
      end
    end

    def open_tcp
      host, port = host_and_port
      Socket.tcp(host, port, connect_timeout: left)
    rescue Errno::ETIMEDOUT
      give_up
    end

    # Where nobody accepts what is queued, the kernel has one try again.
    def open_unix
      socket = Socket.new(:UNIX, :STREAM)
      begin
        socket.connect_nonblock(Socket.sockaddr_un(@address.sub(/\A@/, "\0")))
      rescue Errno::EAGAIN
        sleep([left, 0.05].min)
        retry
      end
      socket
    rescue SystemCallError, Failure
      socket.close
      raise
    end

    # The control server's certificate is self-signed as a rule; the token is what keeps others out.
    def open_ssl
      require "openssl"
      context = OpenSSL::SSL::SSLContext.new
      context.verify_mode = OpenSSL::SSL::VERIFY_NONE
      socket = OpenSSL::SSL::SSLSocket.new(open_tcp, context)
      socket.sync_close = true
      until (outcome = socket.connect_nonblock(exception: false)) == socket
        wait_for(socket, outcome)
      end
      socket
    end

    def host_and_port
      host, port = @address.delete_suffix("/").match(/\A\[?(.*?)\]?:(\d+)\z/)&.captures
      raise Failure, "Invalid control url: #{@scheme}://#{@address}" unless port

      [host, port.to_i]
    end

    def read_all(socket)
      answer = +""
      while (octets = socket.read_nonblock(65_536, exception: false))
        octets.is_a?(Symbol) ? wait_for(socket, octets) : answer << octets
      end
      answer
    rescue EOFError, Errno::ECONNRESET
      answer
    end

    def wait_for(socket, outcome)
      io = socket.to_io
      (outcome == :wait_writable ? io.wait_writable(left) : io.wait_readable(left)) || give_up
    end

    # @return [Float] seconds
    def left
      seconds = @deadline - now
      seconds.positive? ? seconds : give_up
    end

    def give_up
      raise Unanswered, format("no answer in %g s", @timeout)
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    def parse(response)
      raise Failure, "Server closed connection before responding" if response.empty?

      head, body = response.split("\r\n\r\n", 2)
      status = head[%r{\AHTTP/1\.[01] (\d{3})}, 1]
      raise Failure, "Server sent empty response" unless status

      [status.to_i, body.to_s.force_encoding(Encoding::UTF_8)]
    end
  end
end
