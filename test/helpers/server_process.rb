# frozen_string_literal: true

require "fileutils"
require "socket"
require "tempfile"
require_relative "patience"
require_relative "response_reader"

# A server that a test started: its process, its log (standard output and error together) and how to reach it.
class ServerProcess
  HOST = "127.0.0.1"

  attr_reader :pid, :port, :path, :status

  # @param command [Array<String>] what to run
  # @param port [Integer, nil] where it will listen
  # @param path [String, nil] the unix socket where it will listen, instead
  # @param env [Hash] environment on top of this process'; nil unsets
  # @param chdir [String] folder to run in
  # @param fds [Hash{Integer => IO}] open files to hand over
  # @param out [IO, nil] where it logs to, instead of to a file that this object reads
  def initialize(command, port: nil, path: nil, env: {}, chdir: Dir.pwd, fds: {}, out: nil)
    @port = port
    @path = path
    @log_file = Tempfile.create("server-log")
    @pid = Process.spawn(env, *command, chdir:, in: File::NULL, out: out || @log_file.path, err: %i[child out], **fds)
  end

  # What it printed so far, also after it was stopped.
  def log = @last_log || File.read(@log_file.path)

  # Waits for a line of the log from offset `after` on.
  #
  # @return [MatchData]
  def wait_for_log(pattern, timeout: 20, after: 0)
    wait_until("its log matches #{pattern.inspect}", timeout) do
      found = log.byteslice(after..).to_s.match(pattern)
      raise Exited, "the server ended (#{status}) before its log matched #{pattern.inspect}" if !found && exited?

      found
    end
  end

  class Exited < StandardError; end
  class Late < StandardError; end

  def wait_until(wanted, timeout)
    deadline = now + Patience.for(timeout)
    until (result = yield)
      raise Late, "not in #{timeout} s: #{wanted}" if now > deadline

      sleep 0.01
    end
    result
  end

  # The length of the log now, to look only at what comes after.
  def mark = File.size(@log_file.path)

  def signal(name) = Process.kill(name, pid)

  # Sends a signal, and waits until the process has taken it: of those of one kind that are pending, one arrives.
  def signal_taken(name)
    signal(name)
    bit = 1 << (Signal.list.fetch(name.to_s) - 1)
    wait_until("it takes #{name}", 10) { File.read("/proc/#{pid}/status")[/^ShdPnd:\s*(\h+)/, 1].hex.nobits?(bit) }
  end

  # Suspends the server, or one of its workers, and waits until each of its threads stands still: the signal alone
  # leaves the others a moment more, in which one may accept a connection.
  def suspend(pid = self.pid)
    Process.kill(:STOP, pid)
    wait_until("process #{pid} is suspended", 10) do
      Dir["/proc/#{pid}/task/*/stat"].all? { |stat| File.read(stat)[/\) (\w)/, 1] == "T" }
    end
  end

  def exited?
    @status ||= Process.wait2(pid, Process::WNOHANG)&.last
    !@status.nil?
  end

  # @return [Process::Status]
  def wait_exit(timeout: 15)
    wait_until("it exits", timeout) { exited? }
    status
  end

  # Ends the server however it can.
  # @return [Boolean] whether it ended by being asked
  def stop
    signal(:INT) unless exited?
    wait_exit
    true
  rescue Late
    Process.kill(:KILL, pid)
    @status = Process.wait2(pid).last
    false
  ensure
    @last_log = log
    FileUtils.rm_f(@log_file.path)
  end

  def connect = path ? UNIXSocket.new(path) : TCPSocket.new(HOST, port)

  # Sends `octets` on a connection of its own.
  # @yieldparam reader [ResponseReader]
  # @yieldparam socket [Socket]
  def exchange(octets)
    socket = connect
    socket.write(octets)
    yield ResponseReader.new(socket), socket
  ensure
    socket&.close
  end

  # @return [ResponseReader::Response]
  def request(octets, timeout: 10, head_only: false)
    exchange(octets) { |reader| reader.receive(timeout:, head_only:) }
  end

  def get(target, headers: {}, **options)
    fields = { "Host" => "localhost" }.merge(headers).map { |name, value| "#{name}: #{value}\r\n" }.join
    request("GET #{target} HTTP/1.1\r\n#{fields}\r\n", **options)
  end

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
