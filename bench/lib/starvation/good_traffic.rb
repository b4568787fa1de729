# frozen_string_literal: true

require "json"
require "openssl"

# Requests of a client that does nothing wrong, one after the other on connections of their own, from another process.
class GoodTraffic
  REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
  PAUSE = 0.002

  # What became of them.
  # @!attribute times [Array<Float>] milliseconds of each that was answered, ascending
  # @!attribute lost [Integer] how many were not
  Outcome = Struct.new(:times, :lost) do
    def count = times.size
    def p99 = times[(count * 0.99).to_i] || Float::INFINITY
  end

  # @param connect [Proc] makes a connection
  # @yield while it goes on
  # @return [Outcome]
  def self.beside(connect)
    outcome, outcome_writer = IO.pipe
    stop, stop_writer = IO.pipe
    child = fork do
      stop_writer.close
      outcome_writer.write(JSON.generate(new(connect).until_readable(stop).to_a))
      exit!(true)
    end
    [outcome_writer, stop].each(&:close)
    yield
    stop_writer.close
    Outcome.new(*JSON.parse(outcome.read))
  ensure
    [outcome, stop_writer].each(&:close)
    Process.wait(child)
  end

  def initialize(connect)
    @connect = connect
  end

  def until_readable(stop)
    outcome = Outcome.new([], 0)
    until stop.wait_readable(PAUSE)
      began = now
      answered? ? outcome.times << ((now - began) * 1e3) : outcome.lost += 1
    end
    outcome.times.sort!
    outcome
  end

  def answered?
    socket = @connect.call
    socket.write(REQUEST)
    socket.read.start_with?("HTTP/1.1 200")
  rescue SystemCallError, IOError, OpenSSL::SSL::SSLError
    false
  ensure
    socket&.close
  end

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
