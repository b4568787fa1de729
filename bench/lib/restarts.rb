# frozen_string_literal: true

require "fileutils"
require "open3"
require "tmpdir"
require_relative "../../test/helpers/bundles"
require_relative "../../test/helpers/server_process"
require_relative "latencies"
require_relative "steady_clients"

# Restarts a preloaded Rails app (test/rails) again and again under load, every fifth time to a broken deployment.
class Restarts
  include Bundles

  ROOT = File.expand_path("../..", __dir__)
  GEMS = %w[railties activerecord activejob activestorage actionpack actioncable sqlite3].freeze
  CLIENTS = { keep_alive: 20, fresh: 20 }.freeze
  Restart = Struct.new(:kind, :status, :text, :began, :took)
  BROKEN = {
    syntax: "def broken(", missing_gem: "require 'no_such_gem'", raise: "raise 'no database'", hang: "sleep",
    crash: "Thread.new { sleep 0.01 until Rails.application.initialized?; sleep 0.7; exit! 7 }"
  }.freeze
  # Seconds before each restart that it is compared with, since machines are not as fast at all times; those after it,
  # in which the old generation may still end.
  BEFORE = 3
  AFTER = 0.5
  private_constant :ROOT, :GEMS, :CLIENTS, :Restart, :BROKEN, :BEFORE, :AFTER

  # @param rate [Integer] requests a second
  def initialize(count, rate)
    @count = count
    @period = CLIENTS.values.sum.fdiv(rate)
  end

  # @return [Boolean] nothing was lost
  def run
    Dir.mktmpdir("rserve-restarts") do |folder|
      @app = folder
      prepare
      serve
      measure
    ensure
      @server&.stop
    end
  end

  private

  def prepare
    FileUtils.cp_r("#{ROOT}/test/rails/.", @app)
    FileUtils.mkdir_p("#{@app}/config/initializers")
    gems = GEMS.map { |name| "gem '#{name}'" }
    @env = bundle(@app, [*gems, "gem 'rserve', path: #{ROOT.dump}", ""].join("\n"), task: "lock")
    @port = TCPServer.open("127.0.0.1", 0) { |socket| socket.addr[1] }
    File.write("#{@app}/config/puma.rb", <<~RUBY)
      bind "tcp://127.0.0.1:#{@port}"
      workers 2
      threads 3, 3
      preload_app!
      worker_boot_timeout 40
      state_path "#{@app}/server.state"
      pidfile "#{@app}/server.pid"
      activate_control_app "unix://#{@app}/control.sock", { auth_token: "t" }
      before_fork { ActiveRecord::Base.connection_pool.disconnect! }
      on_worker_boot { ActiveRecord::Base.establish_connection }
      rserve { overlap_restart; restart_ready path: "/"; restart_settle 1; restart_step 1 }
    RUBY
  end

  def assert(fine, message) = fine || abort(message)

  def serve
    @temporary = FileUtils.mkdir_p("#{@app}/temporary").first
    env = @env.merge("APP_DATA" => "#{@app}/data", "RACK_ENV" => "production", "TMPDIR" => @temporary)
    command = [RbConfig.ruby, "-S", "bundle", "exec", "rserve"]
    @server = ServerProcess.new(command, port: @port, chdir: @app, env: env.merge("PWD" => @app))
    @server.wait_for_log(/Worker 1 \(PID: \d+\) booted/, timeout: 60)
  end

  def measure
    clients = SteadyClients.start(@port, CLIENTS, period: @period)
    began = clock
    sleep 5
    files = descriptors
    @peaks = []
    restarts = Array.new(@count) { |index| restart(index) }
    sleep AFTER
    ended = clock
    result = SteadyClients.stop(clients)
    clients = nil
    report(restarts, files, result, ended - began)
  ensure
    SteadyClients.stop(clients) if clients
  end

  def restart(index)
    sleep AFTER + BEFORE
    kind = BROKEN.keys[(index / 5) % BROKEN.size] if index % 5 == 4
    quiet = memory
    path = "#{@app}/config/initializers/deployed.rb"
    File.write(path, kind ? BROKEN[kind] : "DEPLOYED = #{index}\n")
    peak = watch_memory
    began = clock
    text, status = Open3.capture2e(@env, RbConfig.ruby, "-I#{ROOT}/lib", "#{ROOT}/gem/exe/rservectl", "-S",
                                   "#{@app}/server.state", "restart", "--wait")
    took = clock - began
    most = peak.call
    @peaks << [quiet, most] unless kind
    puts format("%2d: %.2f s, %s: %d %s", index + 1, took, kind || "fine", status.exitstatus, text)
    Restart.new(kind, status.exitstatus, text, began, took)
  end

  # @return [Proc] ends it, and gives the greatest sum
  def watch_memory
    greatest = 0
    done = false
    watching = Thread.new do
      until done
        greatest = [greatest, memory].max
        sleep 0.5
      end
    end
    lambda do
      done = true
      watching.join
      greatest
    end
  end

  # Proportional set sizes of all processes of the server together, in kB.
  def memory
    family.sum { |pid| read(pid, "smaps_rollup")[/^Pss:\s+(\d+)/, 1].to_i }
  end

  # @return [Array<Integer>] the server's processes, the keeper first
  def family
    found = [@server.pid]
    found.each { |pid| found.concat(read(pid, "task/#{pid}/children").split.map(&:to_i)) }
  end

  def read(pid, name)
    File.read("/proc/#{pid}/#{name}")
  rescue SystemCallError
    ""
  end

  def descriptors = Dir.children("/proc/#{@server.pid}/fd").size

  def report(restarts, files, result, seconds)
    @server.wait_until("the last generation is gone", 40) { family.size == 4 }
    wrong = restarts.reject { |it| it.status == (it.kind ? 1 : 0) }
    pid = File.read("#{@app}/server.pid").strip == @server.pid.to_s ? "same pid" : "another pid"
    quiet, most = @peaks.max_by { |before, meanwhile| meanwhile.fdiv(before) }
    puts "requests: #{result.times.size} answered, lost: #{result.lost.inspect}", *latencies(restarts, result),
         "seconds of a restart to a deployment that is fine: #{durations(restarts)}",
         "the clients' processor time: #{(result.cpu / seconds * 100).round(1)} % of one",
         "statuses of --wait that are wrong: #{wrong.inspect}; 1 of them: #{restarts.count { |it| it.status == 1 }}",
         "processes left: #{family.size} of 4; descriptors of the keeper: #{files} before, #{descriptors} after; " \
         "temporary files: #{Dir.glob("#{@temporary}/**/*", File::FNM_DOTMATCH).count { |path| File.file?(path) }}",
         "keeper: #{private_memory} kB private; #{pid}",
         "sum of PSS: at most #{most.fdiv(quiet).round(2)} times in a restart, from #{quiet} to #{most} kB"
    result.lost.empty? && wrong.empty?
  end

  def latencies(restarts, result)
    spans = {
      "before" => restarts.map { |it| (it.began - BEFORE)...it.began },
      "meanwhile" => restarts.map { |it| it.began...(it.began + it.took + AFTER) }
    }
    spans.map do |name, some|
      times = result.times.filter_map { |due, took| took * 1e3 if some.any? { |span| span.cover?(due) } }
      summary = Latencies.summary(times).map { |key, value| "#{key} #{value.round(1)} ms" }.join(", ")
      "#{name}: #{times.size} requests, #{summary}, longest #{times.max.round} ms"
    end
  end

  # Whether something grows: the first and the last fifth, the median of each.
  def durations(restarts)
    fine = restarts.reject(&:kind).map(&:took)
    fifth = [fine.size / 5, 1].max
    "#{[fine.first(fifth), fine, fine.last(fifth)].map { |some| some.sort[some.size / 2].round(2) }.join(", ")} " \
      "(median of the first fifth, of all, of the last fifth)"
  end

  def clock = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def private_memory
    File.read("/proc/#{@server.pid}/smaps_rollup").scan(/^Private_\w+:\s+(\d+)/).flatten.sum(&:to_i)
  end
end
