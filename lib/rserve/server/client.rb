# frozen_string_literal: true

require "socket"
require "rserve/server/upload_input"

module Rserve
  # What an application may do with the connection behind its request: `env["rack.hijack"]` (it responds to `call`) and
  # `env["puma.socket"]` (it passes every other message on to a socket). Its native half is `ext/rserve/src/client.rs`.
  class Client
    # Octets of a chunk's size and extensions, at most.
    MAX_CHUNK_HEADER_SIZE = 4096

    # Takes the connection from the server for good (Rack's full hijack).
    #
    # @return [TCPSocket, UNIXSocket, MiniSSL::Socket]
    # @raise [IOError] after the response
    def call
      return @io if hijacked?

      taken, rest = take_socket
      @io = taken.is_a?(Integer) ? socket(taken) : MiniSSL::Socket.new(taken)
      @io.ungetbyte(rest) unless rest.empty?
      ahead = @upload_input&.take_ahead
      @io.ungetbyte(ahead) if ahead
      env&.store("rack.hijack_io", @io)
      @io
    end
    alias full_hijack call

    # @return [IO] the socket; one's own duplicate of it while the server still has the connection
    def to_io
      @to_io ||= hijacked? ? @io.to_io : socket(duplicate_socket)
    end

    # @return [OpenSSL::X509::Certificate, nil] that the client showed
    def peercert
      hijacked? && @io.respond_to?(:peercert) ? @io.peercert : MiniSSL.certificate(peer_certificate)
    end

    # @return [Array(String, String), nil] version of TLS and its state
    def ssl_version_state
      version = tls_version
      version && [version, "SSLOK"]
    end

    # @api private
    # @return [UploadInput] `rack.input` of a request whose body is read while it comes
    def upload_input
      @upload_input = UploadInput.for_this_rack.new(method(:receive_body))
    end

    # Sends a `103 Early Hints` response ahead of the real one. Does nothing once the client is gone,
    # nor for HTTP/1.0, whose clients would take it for the real one.
    #
    # @param headers [Hash{String => String, Array<String>}]
    def early_hints(headers)
      write_ahead(Native.early_hints(headers.to_a))
    end

    # Ends the connection: once the application returns nothing more is sent.
    def close
      call unless hijacked?
      @io.close
      @to_io&.close # the duplicate keeps the connection open, too
    rescue IOError
      nil # it is closed
    end

    def closed?
      hijacked? && @io.closed?
    end

    def respond_to_missing?(name, include_all = false)
      BasicSocket.method_defined?(name) || TCPSocket.method_defined?(name) || super
    end

    # What sockets can, the connection's socket does.
    def method_missing(name, ...)
      return super unless respond_to_missing?(name)

      (hijacked? ? @io : to_io).public_send(name, ...)
    end

    private

    def socket(fd)
      (unix? ? UNIXSocket : TCPSocket).for_fd(fd)
    end
  end
end
