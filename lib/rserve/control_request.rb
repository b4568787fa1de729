# frozen_string_literal: true

require "socket"
require "uri"
require "rserve/config_error"

module Rserve
  # One command to a control server: `GET /COMMAND?token=TOKEN` by HTTP/1.0 over TCP, TLS or a unix socket.
  class ControlRequest
    # The server was reached, and did not answer as a control server does.
    class Failure < StandardError
    end

    # Does anything listen at `url`?
    #
    # @raise [SystemCallError] why not
    def self.reachable?(url)
      new(url, nil).send(:open).close
      true
    end

    # @param url [String] `tcp://host:port`, `ssl://host:port`, `unix://path` or `unix://@name`
    # @param token [String, Integer, nil]
    def initialize(url, token)
      @scheme, _, rest = url.partition("://")
      @address = rest.split("?").first.to_s
      @token = token
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
      when "tcp" then TCPSocket.new(*host_and_port)
      when "unix" then UNIXSocket.new(@address.sub(/\A@/, "\0"))
      when "ssl" then open_ssl
      else raise Failure, "Invalid control url scheme: #{@scheme}"
      end
    end

    # The control server's certificate is self-signed as a rule; the token is what keeps others out.
    def open_ssl
      require "openssl"
      context = OpenSSL::SSL::SSLContext.new
      context.verify_mode = OpenSSL::SSL::VERIFY_NONE
      socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new(*host_and_port), context)
      socket.sync_close = true
      socket.connect
    end

    def host_and_port
      host, port = @address.delete_suffix("/").match(/\A\[?(.*?)\]?:(\d+)\z/)&.captures
      raise Failure, "Invalid control url: #{@scheme}://#{@address}" unless port

      [host, port.to_i]
    end

    def read_all(socket)
      socket.read.to_s
    rescue EOFError, Errno::ECONNRESET
      ""
    end

    def parse(response)
      raise Failure, "Server closed connection before responding" if response.empty?

      head, body = response.split("\r\n\r\n", 2)
      status = head[%r{\AHTTP/1\.[01] (\d{3})}, 1]
      raise Failure, "Server sent empty response" unless status

      [status.to_i, body.to_s]
    end
  end
end
