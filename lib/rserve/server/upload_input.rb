# frozen_string_literal: true

module Rserve
  # `rack.input` of a request whose body the application reads while it comes (`stream_uploads`). What it reads is gone
  # afterwards. Reading waits for the client: a thread without the GVL, a fiber that has a scheduler by that.
  #
  # @see BodyError which reading raises when no more of the body will come
  class UploadInput
    # Octets that are read at once where nobody says how many.
    PIECE = 65_536
    # After so many pieces that were there already, other fibers of the thread go on.
    ROW = 16
    private_constant :PIECE, :ROW

    # @return [Class] for the Rack that the application has: up to 2 it wants to rewind
    def self.for_this_rack
      @for_this_rack ||= defined?(::Rack.release) && ::Rack.release < "3" ? RewindableUploadInput : self
    end

    # @param source [#call] given the most octets that are wanted, at least one of them, or nil at the end
    def initialize(source)
      @source = source
      @pieces = 0
    end

    # @param length [Integer, nil] octets wanted, or all that come
    # @param buffer [String, nil] gets them
    # @return [String, nil] fewer octets only at the end; nil where there is none, and some were wanted
    def read(length = nil, buffer = nil)
      raise ArgumentError, "negative length #{length} given" if length&.negative?

      octets = emptied(buffer)
      while length.nil? || octets.bytesize < length
        append(octets, piece(length ? length - octets.bytesize : PIECE) || break)
      end
      octets unless octets.empty? && length&.positive?
    end

    # What is there, or comes next.
    #
    # @param most [Integer] octets
    # @param buffer [String, nil] gets them
    # @return [String] one octet at least
    # @raise [EOFError] at the end
    def readpartial(most, buffer = nil)
      raise ArgumentError, "negative length #{most} given" if most.negative?

      octets = emptied(buffer)
      append(octets, piece(most) || raise(EOFError, "end of file reached")) if most.positive?
      octets
    end
    alias sysread readpartial

    # @param separator [String, nil] that a line ends with; nil for all that come
    # @return [String, nil] the next line, with the separator
    def gets(separator = "\n")
      return read.then { |rest| rest unless rest.empty? } unless separator

      from = 0
      until (at = ahead&.index(separator, from))
        from = [@ahead.bytesize - separator.bytesize + 1, 0].max if @ahead
        return take_ahead unless (octets = receive(PIECE))

        @ahead = @ahead ? append(@ahead, octets) : octets
      end
      take_ahead(at + separator.bytesize)
    end

    # Each line.
    def each(separator = "\n")
      return to_enum(:each, separator) unless block_given?

      while (line = gets(separator)) do yield line end
      self
    end
    alias each_line each

    # @return [Integer, nil]
    def getbyte
      piece(1)&.getbyte(0)
    end

    # Waits for an octet, or the end.
    def eof?
      @ahead = ahead || receive(PIECE)
      @ahead.nil?
    end
    alias eof eof?

    def external_encoding
      Encoding::BINARY
    end

    def binmode
      self
    end

    def binmode? = true

    # Nothing more is read.
    def close
      @closed = true
      nil
    end

    def closed? = @closed ? true : false

    # @api private
    # @return [String, nil] what was read ahead
    def take_ahead(most = nil)
      return @ahead.slice!(0, most) if most && @ahead && @ahead.bytesize > most

      octets = @ahead
      @ahead = nil
      octets
    end

    private

    def emptied(buffer) = buffer ? buffer.clear.force_encoding(Encoding::BINARY) : "".b

    # A large upload leaves no pieces to the garbage collector.
    def append(octets, piece)
      octets << piece
      piece.clear
      octets
    end

    def ahead
      raise IOError, "closed stream" if @closed

      @ahead
    end

    # @return [String, nil] at most so many octets, one at least
    def piece(most)
      ahead ? take_ahead(most) : receive(most)
    end

    def receive(most)
      sleep 0 if ((@pieces += 1) % ROW).zero? && Fiber.current_scheduler
      @source.call(most)
    end
  end

  # For Rack 2, whose inputs can be read again: that of a body as small as others are kept in memory can.
  class RewindableUploadInput < UploadInput
    # Octets of a body that are kept.
    KEPT = 112 * 1024
    private_constant :KEPT

    def initialize(source)
      super
      @kept = "".b
    end

    # Back to the beginning: Rack 2 does so when it is done with a form. Reading on is possible where all was kept.
    def rewind
      @ahead = nil
      @again = @began
      0
    end

    private

    def receive(most)
      return super.tap { |octets| keep(octets) if octets } unless @again

      raise Errno::ESPIPE, "stream_uploads keeps #{KEPT} octets of a body that is read again" unless @kept

      @again = false
      @ahead = @kept.dup
      take_ahead(most)
    end

    def keep(octets)
      @began = true
      @kept = @kept && @kept.bytesize + octets.bytesize <= KEPT ? @kept << octets : nil
    end
  end
end
