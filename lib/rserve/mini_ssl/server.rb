# frozen_string_literal: true

require "rserve/mini_ssl"

module Rserve
  module MiniSSL
    # A TLS listener: a TCP one, and what it offers. The native core accepts on it; {#accept} is for those that do it by
    # hand.
    class Server
      # Seconds that {#accept} gives a client.
      HANDSHAKE_TIMEOUT = 5
      private_constant :HANDSHAKE_TIMEOUT

      # @return [Context]
      attr_reader :context

      # @param socket [TCPServer]
      # @param context [Context]
      # @raise [SSLError] when the context is of no use
      def initialize(socket, context)
        @socket = socket
        @ctx = @context = context
        @ctx.native
      end

      # @return [TCPServer]
      def to_io
        @socket
      end

      # (see Context#reload_changed)
      def reload_changed
        @ctx.reload_changed
      end

      # (see Context#reload)
      def reload
        @ctx.reload
      end

      # @return [Native::TlsContext]
      def native_context
        @ctx.native
      end

      # @return [Array] of the socket
      def addr
        @socket.addr
      end

      # May be called again.
      def close
        @socket.close unless @socket.closed?
      end

      def closed?
        @socket.closed?
      end

      # Waits for a client, and for its handshake.
      #
      # @return [OpenSSL::SSL::SSLSocket]
      def accept
        handshake(@socket.accept)
      end

      # @return [OpenSSL::SSL::SSLSocket, :wait_readable] its handshake is waited for
      def accept_nonblock(exception: true)
        socket = @socket.accept_nonblock(exception:)
        socket == :wait_readable ? socket : handshake(socket)
      end

      # @return [OpenSSL::SSL::SSLSocket, :wait_readable] its handshake is the caller's to do
      def accept_unshaken_nonblock
        socket = @socket.accept_nonblock(exception: false)
        socket == :wait_readable ? socket : unshaken(socket)
      end

      # @return [OpenSSL::SSL::SSLContext] made once
      def openssl_context
        @openssl_context ||= make_openssl_context
      end

      private

      def unshaken(socket)
        OpenSSL::SSL::SSLSocket.new(socket, openssl_context).tap { |tls| tls.sync_close = true }
      end

      def handshake(socket)
        tls = unshaken(socket)
        deadline = now + HANDSHAKE_TIMEOUT
        loop do
          case tls.accept_nonblock(exception: false)
          when :wait_readable then socket.wait_readable(deadline - now)
          when :wait_writable then socket.wait_writable(deadline - now)
          else return tls
          end
          raise SSLError, "timed out in the handshake" if now > deadline
        end
      rescue StandardError
        socket.close
        raise
      end

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      def make_openssl_context
        require "openssl"
        context = OpenSSL::SSL::SSLContext.new
        password = @ctx.key_password if @ctx.key_password_command
        key = OpenSSL::PKey.read(@ctx.key_pem || File.read(@ctx.key), password)
        leaf, *chain = OpenSSL::X509::Certificate.load(@ctx.cert_pem || File.read(@ctx.cert))
        context.add_certificate(leaf, key, chain)
        context.verify_mode = @ctx.verify_mode || VERIFY_NONE
        context.ca_file = @ctx.ca
        context
      end
    end
  end
end
