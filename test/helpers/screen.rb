# frozen_string_literal: true

require "io/console"
require "pty"
require_relative "patience"

# A program in a pseudo-terminal, and what a person would see there: as much of a terminal as `rservectl top` needs.
class Screen
  # @param command [Array<String>]
  # @param rows [Integer]
  # @param columns [Integer]
  def initialize(command, rows: 24, columns: 80, chdir: Dir.pwd)
    @master, @slave = PTY.open
    @columns = columns
    @slave.winsize = [rows, columns]
    @before = modes
    @text = +""
    clear
    @pid = Process.spawn(*command, in: @slave, out: @slave, err: @slave, chdir:)
  end

  attr_reader :pid

  def type(keys) = @master.write(keys)

  # Waits until something that the screen shows matches.
  #
  # @return [String] the screen
  def wait_for(pattern, timeout: 20)
    deadline = now + Patience.for(timeout)
    until lines.join("\n").match?(pattern)
      left = deadline - now
      raise "not on the screen in #{timeout} s: #{pattern.inspect}\n#{lines.join("\n")}" unless left.positive?

      receive(left)
    end
    lines.join("\n")
  end

  # @return [Array<String>] as they are now
  def lines = @rows.map(&:rstrip)

  # Waits for the program's end and for what it last wrote.
  #
  # @return [Process::Status]
  def wait_exit(timeout: 15)
    deadline = now + Patience.for(timeout)
    until @status ||= Process.wait2(@pid, Process::WNOHANG)&.last
      raise "still running after #{timeout} s\n#{lines.join("\n")}" if now > deadline

      receive(0.05)
    end
    receive(0) while @master.wait_readable(0)
    @status
  end

  # Is the terminal as it was before the program?
  def restored? = modes == @before && !@other_screen && !@cursor_hidden

  def close
    Process.kill(:KILL, @pid) && Process.wait(@pid) unless @status
  ensure
    [@master, @slave].each(&:close)
  end

  private

  def modes = IO.popen(["stty", "-g"], in: @slave, &:read)
  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def clear
    @rows = [+""]
    @row = @column = 0
  end

  def receive(seconds)
    return unless @master.wait_readable(seconds)

    @text << @master.readpartial(65_536).force_encoding(Encoding::UTF_8)
    # An escape sequence may have come only in part.
    show(Regexp.last_match) while @text.sub!(/\A(?:\e\[(?<codes>[?\d;]*)(?<letter>[a-zA-Z])|(?<char>[^\e]))/m, "")
  end

  def show(match)
    return put(match[:char]) if match[:char]

    case [match[:codes], match[:letter]]
    in ["?1049", "h" | "l" => letter] then (@other_screen = letter == "h") && clear
    in ["?25", "h" | "l" => letter] then @cursor_hidden = letter == "l"
    in ["", "H"] then @row = @column = 0
    in ["", "K"] then erase_line
    in ["", "J"] then erase_below
    in [_, "m"] then nil
    end
  end

  def put(char)
    case char
    when "\r" then @column = 0
    when "\n" then @row += 1
    else
      raise "line #{@row} is longer than the screen: #{@rows[@row]}" if @column >= @columns

      row[@column] = char
      @column += 1
    end
  end

  def row
    @rows << +"" while @rows.size <= @row
    @rows[@row].replace(@rows[@row].ljust(@column))
  end

  def erase_line = row.slice!(@column..)

  def erase_below
    erase_line
    @rows.slice!((@row + 1)..)
  end
end
