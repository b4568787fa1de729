# frozen_string_literal: true

require "stringio"

module Rserve
  # An input that is always at its end and an output that keeps nothing: the `rack.input` of a request without a
  # body, and where a silent log writes to.
  class NullIO
    # @return [nil]
    def gets
      nil
    end

    def string
      ""
    end

    def each; end

    # @param length [Integer, nil] octets wanted
    # @param buffer [#to_str, nil] emptied, as `IO#read` does
    # @return [String, nil] nil at a positive length, else the (empty) buffer or a new empty string
    def read(length = nil, buffer = nil)
      raise ArgumentError, "negative length #{length} given" if length&.negative?

      buffer = buffer.nil? ? +"" : StringIO.new.read(0, buffer) # which converts and checks it
      length.nil? || length.zero? ? buffer : nil
    end

    def getbyte
      nil
    end

    # @raise [EOFError] as any input does at its end
    def sysread(_length = nil, _buffer = nil)
      raise EOFError, "end of file reached"
    end
    alias readpartial sysread

    def pos
      0
    end

    def pos=(position)
      raise Errno::EINVAL if position.negative?
    end

    def tell
      pos
    end

    def rewind
      0
    end

    def seek(_position, _whence = 0)
      0
    end

    def size
      0
    end
    alias length size

    def eof?
      true
    end
    alias eof eof?

    def sync
      true
    end

    def sync=(value); end

    def fsync
      0
    end

    def flush
      self
    end

    def binmode
      self
    end

    def close
      nil
    end

    def close_read; end

    def close_write; end

    def closed?
      false
    end

    def to_io
      self
    end

    def set_encoding(*)
      self
    end

    def external_encoding
      Encoding::BINARY
    end

    def binmode?
      true
    end

    def puts(*); end

    def write(*strings)
      strings.sum { |string| string.to_s.bytesize }
    end

    def write_nonblock(string)
      string.to_s.bytesize
    end
    alias syswrite write_nonblock

    def <<(_string)
      self
    end
  end
end
