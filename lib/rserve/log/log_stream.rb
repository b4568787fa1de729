# frozen_string_literal: true

require "rserve/native"

module Rserve
  # A stream that the server logs to. What the server does must not depend on whether it can log it: writing raises
  # nothing (disk full, terminal or reader gone), and waits for a second at most when nobody reads. What is lost is
  # counted, and told with the next line that gets through.
  class LogStream
    # Milliseconds for the log's reader to catch up. After that was in vain, nothing waits until a line gets through.
    PATIENCE = 1000
    private_constant :PATIENCE

    # Ruby's own buffers are to be empty before a fork: it would fail with what they cannot write, and each child would
    # write it again.
    def self.settle
      [$stdout, $stderr].each { |io| new(io).settle }
    end

    # @param io [#write]
    def initialize(io)
      @io = io
      @lost = 0
      @cut = false
      @why = nil
    end

    # @param text [String] whole lines
    def write(text)
      return write_by_its_own_means(text) unless plain?

      settle unless @io.sync
      deliver(text)
    rescue StandardError => e
      lose(e)
    end

    # Writes what Ruby holds back for the stream, or drops it where nobody takes it.
    def settle
      return unless plain?

      @io.wait_writable(0) ? @io.flush : drop
    rescue StandardError
      drop
    end

    private

    # A stream with a `write` or `syswrite` of its own before Ruby's is written to by that.
    def plain?
      @io.is_a?(IO) && !@io.closed? && rubys?(:write) && rubys?(:syswrite)
    end

    def rubys?(method)
      @io.method(method).owner.equal?(IO)
    end

    def write_by_its_own_means(text)
      return @io.syswrite(text) if @io.is_a?(IO) && rubys?(:write)

      @io.write(text)
      @io.flush if @io.respond_to?(:flush) && !(@io.respond_to?(:sync) && @io.sync)
    end

    def deliver(text)
      text = notice + text unless @lost.zero?
      taken = Native.write_log(@io.fileno, text, @lost.zero? ? PATIENCE : 0)
      if taken == text.bytesize
        @lost = 0
        @cut = false
      else
        @cut = true if taken.positive?
        lose(nil)
      end
    end

    def lose(error)
      @lost += 1
      @why = error.is_a?(SystemCallError) ? SystemCallError.new(nil, error.errno).message : error&.message
    end

    def notice
      one = @lost == 1
      "#{"\n" if @cut}! #{@lost} #{one ? "line" : "lines"} of this log #{one ? "is" : "are"} missing: " \
        "#{@why || "nobody took #{one ? "it" : "them"}"}\n"
    end

    # There is no other way to empty a buffer than to write it, so it is written to where everything is taken.
    def drop
      raw = IO.for_fd(@io.fileno, "w", autoclose: false)
      kept = raw.dup
      begin
        File.open(File::NULL, "w") { |null| raw.reopen(null) }
        @io.flush
      ensure
        raw.reopen(kept)
        kept.close
      end
    rescue StandardError
      nil
    end
  end
end
