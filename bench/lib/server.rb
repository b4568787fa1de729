# frozen_string_literal: true

require "etc"
require "fileutils"
require "json"
require "openssl"
require "socket"
require "tempfile"
require "tmpdir"
require_relative "../../test/helpers/certificates"
require_relative "peers"

# A server under measurement, on one core or more, and what it has used.
class BenchServer
  # What a server used up to a moment.
  # @!attribute cpu [Float] seconds of processor time
  # @!attribute switches [Integer] context switches
  Usage = Struct.new(:cpu, :switches) do
    def -(other) = Usage.new(cpu - other.cpu, switches - other.switches)
  end

  attr_reader :name, :port

  # @return [Hash] the environment of a Ruby with YJIT, or without: Ruby 3.1 has it whatever the variable says
  def self.yjit(asked)
    abort "#{RUBY_DESCRIPTION} is built without YJIT" if asked && !defined?(RubyVM::YJIT)
    { "RUBY_YJIT_ENABLE" => asked ? "1" : nil }
  end

  # @param library [String, nil] loaded before all others
  def initialize(name, workload, core:, library: nil)
    @name = name
    @port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
    @tls = workload[:tls]
    @folder = Dir.mktmpdir("bench-server")
    @control = workload[:control] && %w[rserve puma].include?(name)
    # A Gemfile that is not there: Falcon would otherwise resolve this project's.
    @pid = Process.spawn({ "RACK_ENV" => "production", "RAILS_ENV" => "production",
                           "BUNDLE_GEMFILE" => File.join(@folder, "Gemfile"), "LD_PRELOAD" => library,
                           **workload.fetch(:env, {}) },
                         "taskset", "-c", core, RbConfig.ruby,
                         *Peers.command(name, workload, port:, address:, folder: @folder),
                         in: File::NULL, out: log, err: %i[child out])
    wait_until_it_answers
  end

  def url = "#{@tls ? "https" : "http"}://127.0.0.1:#{port}"

  # A server that does not end when it is asked to is killed.
  def stop
    Process.kill(:INT, @pid)
    deadline = now + 10
    until Process.wait(@pid, Process::WNOHANG)
      Process.kill(:KILL, @pid) if now > deadline
      sleep 0.02
    end
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  ensure
    FileUtils.rm_rf(@folder)
  end

  # @return [Usage] of the server's processes together, those that ended included
  def usage
    all = processes.filter_map { |pid| usage_of(pid) }
    Usage.new(all.sum(&:cpu), all.sum(&:switches))
  end

  # @return [Hash] pss: proportional share of all processes together; of those that serve, the mean: worker_pss, and
  #   private, what one has written to and shares with none (bytes)
  def memory
    all = processes.filter_map { |pid| rollup(pid) }
    serving = all.size > 1 ? all.drop(1) : all
    { pss: all.sum { |one| one["Pss"] }, worker_pss: serving.sum { |one| one["Pss"] } / serving.size,
      private: serving.sum { |one| one["Private_Dirty"] } / serving.size }
  end

  # @return [Float, nil] requests of the worker that had most, by the median; where the workload has a control server
  def busiest
    return unless @control

    sleep 6 # workers tell their figures every five seconds
    said = UNIXSocket.open(control) { |socket| socket.tap { socket.write("GET /stats HTTP/1.0\r\n\r\n") }.read }
    counts = JSON.parse(said.split("\r\n\r\n", 2).last).fetch("worker_status")
                 .map { |worker| worker.fetch("last_status").fetch("requests_count") }.sort
    counts.last / ((counts[(counts.size - 1) / 2] + counts[counts.size / 2]) / 2.0)
  end

  private

  TICKS_PER_SECOND = Etc.sysconf(Etc::SC_CLK_TCK).to_f
  private_constant :TICKS_PER_SECOND

  def control = File.join(@folder, "control")
  def log = File.join(@folder, "log")

  def address
    return "tcp://127.0.0.1:#{port}" unless @tls

    cert, key = Certificates.new(@folder).issue("bench")
    "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}"
  end

  # @return [Array<Integer>] the one that was started first
  def processes
    parents = Dir.glob("/proc/[0-9]*/stat").to_h do |path|
      [path[/\d+/].to_i, File.read(path)[/\) \S (\d+)/, 1].to_i]
    rescue Errno::ENOENT, Errno::ESRCH
      [0, 0]
    end
    found = [@pid]
    found.each { |pid| found.concat(parents.filter_map { |child, parent| child if parent == pid }) }
  end

  # Some servers' processes come and go, and have their processor time then counted by who reaps them.
  def usage_of(pid)
    Usage.new(cpu(pid), switches(pid))
  rescue Errno::ENOENT, Errno::ESRCH
    nil
  end

  # @return [Hash{String => Integer}] bytes
  def rollup(pid)
    File.read("/proc/#{pid}/smaps_rollup").scan(/^(\w+): +(\d+) kB/).to_h.transform_values { |size| size.to_i * 1024 }
  rescue Errno::ENOENT, Errno::ESRCH
    nil
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
    deadline = now + 30
    until answers?
      give_up if now > deadline || Process.wait(@pid, Process::WNOHANG)
      sleep 0.02
    end
  end

  def give_up
    said = File.read(log)
    stop
    abort "The server did not start:\n#{said}"
  end

  def answers?
    socket = TCPSocket.new("127.0.0.1", port)
    socket = OpenSSL::SSL::SSLSocket.new(socket).tap { |tls| tls.sync_close = true }.connect if @tls
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    # What stands in front of a server answers 502 before it is there.
    socket.readpartial(4096).match?(%r{\AHTTP/1\.[01] [1-4]})
  rescue EOFError, Errno::ECONNREFUSED, Errno::ECONNRESET, OpenSSL::SSL::SSLError
    false
  ensure
    socket&.close
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
