# frozen_string_literal: true

require "etc"
require "fileutils"
require "socket"
require "tempfile"

# A server under measurement, on one core, and what it has used.
class BenchServer
  # Name => executable and what it needs on the load path. Debian's Puma is a gem of this same Ruby.
  COMMANDS = {
    "rserve" => -> { ["-Ilib", "gem/exe/rserve"] },
    "puma" => -> { [Gem.bin_path("puma", "puma")] }
  }.freeze

  # What a server used up to a moment.
  # @!attribute cpu [Float] seconds of processor time
  # @!attribute switches [Integer] context switches
  Usage = Struct.new(:cpu, :switches) do
    def -(other) = Usage.new(cpu - other.cpu, switches - other.switches)
  end

  attr_reader :port

  def initialize(name, workload, core:)
    @port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
    @log = Tempfile.create("bench-server")
    threads = "#{workload[:threads]}:#{workload[:threads]}"
    arguments = ["-b", "tcp://127.0.0.1:#{port}", "-w", workload[:workers].to_s, "-t", threads, "-C", "-",
                 "-e", "production", "-q", workload[:app]]
    @pid = Process.spawn("taskset", "-c", core, RbConfig.ruby, *COMMANDS.fetch(name).call, *arguments,
                         in: File::NULL, out: @log.path, err: %i[child out])
    wait_until_it_answers
  end

  # A server that does not end when it is asked to is killed.
  def stop
    Process.kill(:INT, @pid)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 10
    until Process.wait(@pid, Process::WNOHANG)
      Process.kill(:KILL, @pid) if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep 0.02
    end
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  ensure
    FileUtils.rm_f(@log.path)
  end

  # @return [Usage] of the server's processes together, those that ended included
  def usage
    processes.map { |pid| Usage.new(cpu(pid), switches(pid)) }
             .reduce { |sum, one| Usage.new(sum.cpu + one.cpu, sum.switches + one.switches) }
  end

  # @return [Integer] proportional share of memory in bytes, all processes together
  def memory = processes.sum { |pid| File.read("/proc/#{pid}/smaps_rollup")[/^Pss: +(\d+)/, 1].to_i * 1024 }

  private

  TICKS_PER_SECOND = Etc.sysconf(Etc::SC_CLK_TCK).to_f
  private_constant :TICKS_PER_SECOND

  def processes
    parents = Dir.glob("/proc/[0-9]*/stat").to_h do |path|
      [path[/\d+/].to_i, File.read(path)[/\) \S (\d+)/, 1].to_i]
    rescue Errno::ENOENT, Errno::ESRCH
      [0, 0]
    end
    [@pid] + parents.select { |_, parent| parent == @pid }.keys
  end

  # Fields 14 to 17 of proc(5)'s stat: user and system time, its own and its reaped children's.
  def cpu(pid) = File.read("/proc/#{pid}/stat")[/\) (.*)/, 1].split[11, 4].sum(&:to_i) / TICKS_PER_SECOND

  def switches(pid)
    Dir.glob("/proc/#{pid}/task/*/status").sum do |path|
      File.read(path).scan(/ctxt_switches:\s+(\d+)/).flatten.sum(&:to_i)
    rescue Errno::ENOENT, Errno::ESRCH
      0
    end
  end

  def wait_until_it_answers
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 20
    begin
      TCPSocket.open("127.0.0.1", port) do |socket|
        socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        raise Errno::ECONNREFUSED if socket.read.empty?
      end
    rescue Errno::ECONNREFUSED, Errno::ECONNRESET
      late = Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      abort "The server did not start:\n#{File.read(@log.path)}" if late || Process.wait(@pid, Process::WNOHANG)
      sleep 0.02
      retry
    end
  end
end
