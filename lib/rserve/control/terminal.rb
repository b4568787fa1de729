# frozen_string_literal: true

require "io/console"

module Rserve
  module Control
    # A terminal that is drawn on as a whole, and left as it was found.
    class Terminal
      OTHER_SCREEN = "\e[?1049h\e[?25l" # and no cursor
      FIRST_SCREEN = "\e[?25h\e[?1049l"
      private_constant :OTHER_SCREEN, :FIRST_SCREEN

      # @param input [IO]
      # @param output [IO]
      def initialize(input, output)
        @input = input
        @output = output
      end

      # Can it be drawn on, and are there keys to read?
      def interactive?
        [@input, @output].all? { |io| io.respond_to?(:tty?) && io.tty? }
      end

      # Runs the block with the screen cleared and each key given as it is typed, Ctrl-C too.
      def session
        @wake_reader, @wake_writer = IO.pipe
        resized = Signal.trap("WINCH") { wake }
        @output.write(OTHER_SCREEN)
        @input.raw { yield self }
      ensure
        @output.write(FIRST_SCREEN)
        @output.flush
        Signal.trap("WINCH", resized || "DEFAULT")
        [@wake_reader, @wake_writer].each(&:close)
      end

      # @return [Array(Integer, Integer)] rows and columns
      def size
        rows, columns = @output.winsize
        [rows.positive? ? rows : 24, columns.positive? ? columns : 80]
      end

      # Replaces what is on the screen; lines that do not fit are cut.
      #
      # @param lines [Array<String>]
      # @param heading [Integer, nil] index of a line to set off
      def draw(lines, heading: nil)
        rows, columns = size
        shown = lines.first(rows).each_with_index.map do |line, index|
          text = line.slice(0, columns)
          index == heading ? "\e[7m#{text.ljust(columns)}\e[m" : text
        end
        @output.write("\e[H#{shown.map { |line| "#{line}\e[K" }.join("\r\n")}\e[J")
        @output.flush
      end

      # Waits for a key, for {#wake} or for a new size of the window.
      #
      # @return [String, nil] keys that were typed
      def key(seconds)
        ready, = IO.select([@input, @wake_reader], nil, nil, seconds)
        return if ready.nil?

        @wake_reader.read_nonblock(64, exception: false) if ready.include?(@wake_reader)
        @input.readpartial(64) if ready.include?(@input)
      rescue EOFError, Errno::EIO # the terminal is gone
        "\u0004"
      end

      # Ends a wait for a key; for other threads and for traps.
      def wake
        @wake_writer.write_nonblock(".", exception: false)
      rescue IOError
        nil
      end
    end
  end
end
