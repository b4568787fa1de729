# frozen_string_literal: true

require "socket"
require "rserve/mini_ssl"

module Rserve
  module MiniSSL
    # A TLS connection that the application took away from the server (`rack.hijack`): as much of a socket's methods as
    # applications use. Wait for it with its {#to_io}.
    class Socket
      # Octets that one read brings at most.
      CHUNK = 16 * 1024
      private_constant :CHUNK

      # @return [TCPSocket] for waiting and for addresses; what it reads and writes is not plain text
      attr_reader :to_io

      # @param stream [Native::TlsStream]
      def initialize(stream)
        @stream = stream
        @to_io = TCPSocket.for_fd(stream.duplicate)
        @read_ahead = +""
      end

      # Puts octets in front of what comes.
      def ungetbyte(octets)
        @read_ahead = octets.b << @read_ahead
        nil
      end

      # What is decrypted already is given whole, as by Puma, even if that is more than `length`: {#to_io} does not
      # become readable for it, so waiting for that would be in vain.
      #
      # @return [String, :wait_readable, nil] `nil` at the end, unless `exception`
      # @raise [IO::WaitReadable, EOFError] if `exception`
      def read_nonblock(length, buffer = nil, exception: true)
        octets = take_decrypted(length)
        return fill(buffer, octets) if octets.is_a?(String)
        return octets unless exception
        raise EOFError, "end of file reached" unless octets

        raise IO::EAGAINWaitReadable, "read would block"
      end

      # Waits until there is something; gives as much as {#read_nonblock}.
      #
      # @raise [EOFError]
      def readpartial(length, buffer = nil)
        octets = wait_for { take_decrypted(length) }
        raise EOFError, "end of file reached" unless octets

        fill(buffer, octets)
      end
      alias sysread readpartial

      # @return [String, nil] `length` octets, or all until the end
      def read(length = nil, buffer = nil)
        octets = +"".b
        while length.nil? || octets.bytesize < length
          part = wait_for { take(length ? [length - octets.bytesize, CHUNK].min : CHUNK) }
          break unless part

          octets << part
        end
        octets.empty? && length&.positive? ? nil : fill(buffer, octets)
      end

      # @return [String, nil] a line with its end
      def gets(separator = "\n", chomp: false)
        line = +"".b
        until line.end_with?(separator)
          octet = read(1)
          break unless octet

          line << octet
        end
        return if line.empty?

        chomp ? line.chomp(separator) : line
      end

      # @return [Integer, :wait_writable] octets taken
      # @raise [IO::WaitWritable] if `exception`
      def write_nonblock(octets, exception: true)
        taken = @stream.send(octets.to_s)
        return taken unless taken == :wait_writable && exception

        raise IO::EAGAINWaitWritable, "write would block"
      end

      # Waits until all is out.
      #
      # @return [Integer] octets
      def write(*parts)
        parts.sum do |part|
          octets = part.to_s.b
          length = octets.bytesize
          until octets.empty?
            taken = @stream.send(octets)
            taken == :wait_writable ? @to_io.wait_writable : octets = octets.byteslice(taken..)
          end
          flush
          length
        end
      end
      alias syswrite write

      # @return [Socket] itself
      def <<(octets)
        write(octets)
        self
      end

      # Waits until everything is on its way.
      def flush
        @to_io.wait_writable until @stream.flush
        self
      end

      # May be called again; the other side is told.
      def close
        @stream.close
        @to_io.close unless @to_io.closed?
      end

      # Nothing more will be written; with TLS that is the end.
      def close_write
        close
      end

      def closed?
        @stream.closed?
      end

      # @return [Array] of the TCP connection
      def peeraddr
        @to_io.peeraddr
      end

      # @return [Addrinfo]
      def local_address
        @to_io.local_address
      end

      # @return [Addrinfo]
      def remote_address
        @to_io.remote_address
      end

      # To the TCP connection.
      def setsockopt(...)
        @to_io.setsockopt(...)
      end

      # @return [Socket, TCPSocket, nil] nil when the time is over
      def wait_readable(timeout = nil)
        @read_ahead.empty? ? @to_io.wait_readable(timeout) : self
      end

      # @return [Socket, TCPSocket, nil] nil when the time is over
      def wait_writable(timeout = nil)
        @to_io.wait_writable(timeout)
      end

      # @return [Integer]
      def fileno
        @to_io.fileno
      end

      # @return [true] nothing is kept back
      def sync
        true
      end

      # Nothing is kept back, whatever is wanted.
      def sync=(_sync); end

      # @return [OpenSSL::X509::Certificate, nil] the client's
      def peercert
        @peercert ||= MiniSSL.certificate(@stream.peer_certificate)
      end

      # @return [Array(String, String)] version of TLS, and the state, which is always connected
      def ssl_version_state
        [@stream.version, "SSLOK"]
      end

      private

      # @return [String, :wait_readable, nil]
      def take(length)
        return @stream.receive(length) if @read_ahead.empty?

        @read_ahead.slice!(0, length)
      end

      # As {#take}, and what OpenSSL has left of the record.
      def take_decrypted(length)
        octets = take(length)
        return octets unless octets.is_a?(String) && octets.bytesize == length

        # Never more than a record, so that nothing is left of the next one, either.
        rest = take(CHUNK)
        rest.is_a?(String) ? octets << rest : octets
      end

      # @return [String, nil] what the block gives once there is something
      def wait_for
        @to_io.wait_readable while (octets = yield) == :wait_readable
        octets
      end

      def fill(buffer, octets)
        buffer ? buffer.replace(octets) : octets
      end
    end
  end
end
