# frozen_string_literal: true

require "fileutils"
require "open3"
require "tmpdir"
require_relative "../../test/helpers/bundles"
require_relative "../../test/helpers/response_reader"
require_relative "../../test/helpers/server_process"

# Restarts a preloaded Rails app (test/rails) again and again under load, every fifth time to a broken deployment.
class Restarts
  include Bundles

  ROOT = File.expand_path("../..", __dir__)
  GEMS = %w[railties activerecord activejob activestorage actionpack actioncable sqlite3].freeze
  CLIENTS = { keep_alive: 20, fresh: 20 }.freeze
  PAUSE = 0.1
  BROKEN = {
    syntax: "def broken(", missing_gem: "require 'no_such_gem'", raise: "raise 'no database'", hang: "sleep",
    crash: "Thread.new { sleep 0.01 until Rails.application.initialized?; sleep 0.7; exit! 7 }"
  }.freeze
  private_constant :ROOT, :GEMS, :CLIENTS, :PAUSE, :BROKEN

  def initialize(count)
    @count = count
    @results = Queue.new
    @phase = :before
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
    env = @env.merge("APP_DATA" => "#{@app}/data", "RACK_ENV" => "production")
    command = [RbConfig.ruby, "-S", "bundle", "exec", "rserve"]
    @server = ServerProcess.new(command, port: @port, chdir: @app, env: env.merge("PWD" => @app))
    @server.wait_for_log(/Worker 1 \(PID: \d+\) booted/, timeout: 60)
  end

  def measure
    clients = start_clients
    sleep 10
    quiet_memory = memory
    files = descriptors
    @phase = :during
    @peaks = []
    statuses = Array.new(@count) { |index| restart(index) }
    sleep 3
    @phase = :after
    sleep 1
    @stop = true
    clients.each(&:join)
    report(statuses, quiet_memory, files)
  end

  def restart(index)
    kind = BROKEN.keys[(index / 5) % BROKEN.size] if index % 5 == 4
    path = "#{@app}/config/initializers/deployed.rb"
    File.write(path, kind ? BROKEN[kind] : "DEPLOYED = #{index}\n")
    peak = watch_memory
    text, status = Open3.capture2e(@env, RbConfig.ruby, "-I#{ROOT}/lib", "#{ROOT}/gem/exe/rservectl", "-S",
                                   "#{@app}/server.state", "restart", "--wait")
    @peaks << peak.call unless kind
    puts "#{index + 1}: #{kind || "fine"}: #{status.exitstatus} #{text}"
    [kind, status.exitstatus, text]
  end

  # @return [Proc] ends it, and gives the greatest sum
  def watch_memory
    greatest = 0
    done = false
    watching = Thread.new do
      until done
        greatest = [greatest, memory].max
        sleep 0.1
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

  def family
    parents = Dir.children("/proc").grep(/\A\d+\z/).to_h do |pid|
      [pid.to_i, read(pid, "stat")[/.*\) \S (\d+)/m, 1].to_i]
    end
    found = [@server.pid]
    while (more = parents.filter_map { |pid, parent| pid if found.include?(parent) } - found).any?
      found += more
    end
    found
  end

  def read(pid, name)
    File.read("/proc/#{pid}/#{name}")
  rescue SystemCallError
    ""
  end

  def descriptors = Dir.children("/proc/#{@server.pid}/fd").size

  def start_clients
    CLIENTS.flat_map do |kind, count|
      Array.new(count) { |index| Thread.new { sleep(PAUSE * index / count) && ask(kind) } }
    end
  end

  def ask(kind)
    until @stop
      begin
        @server.connect.tap do |socket|
          reader = ResponseReader.new(socket)
          loop do
            stays = exchange(socket, reader, kind)
            sleep PAUSE
            break if @stop || !stays
          end
        ensure
          socket.close
        end
      rescue SystemCallError => e
        @results << [@phase, "#{kind}: #{e.class}", nil]
      end
    end
  end

  # @return [Boolean] does the connection stay?
  def exchange(socket, reader, kind)
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n#{"Connection: close\r\n" if kind == :fresh}\r\n")
    response = reader.receive(timeout: 30)
    took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
    @results << [@phase, response.status == 200 ? :answered : "#{kind}: #{response.status}", took]
    kind == :keep_alive && !response["Connection"].to_s.casecmp?("close")
  rescue SystemCallError, EOFError, Timeout::Error => e
    @results << [@phase, "#{kind}: #{e.class}", nil]
    false
  end

  def report(statuses, quiet_memory, files)
    results = Array.new(@results.size) { @results.pop }
    counts = results.map { |_, what, _| what }.tally
    p99 = %i[before during].to_h { |phase| [phase, percentile(results, phase)] }
    wrong = statuses.reject { |kind, status, _| status == (kind ? 1 : 0) }
    @server.wait_until("the last generation is gone", 40) { family.size == 4 }
    lost = counts.keys != [:answered]
    pid = File.read("#{@app}/server.pid").strip == @server.pid.to_s ? "same pid" : "another pid"
    share = @peaks.max.fdiv(quiet_memory).round(2)
    puts "requests: #{counts.inspect}", "p99: #{p99.transform_values { |it| "#{(it * 1000).round} ms" }}",
         "statuses of --wait that are wrong: #{wrong.inspect}; 1 of them: #{statuses.count { |it| it[1] == 1 }}",
         "processes left: #{family.size} of 4; descriptors of the keeper: #{files} before, #{descriptors} after",
         "keeper: #{private_memory} kB private; #{pid}",
         "sum of PSS: #{quiet_memory} kB, at most #{@peaks.max} kB (#{share} times) in a restart"
    !lost && wrong.empty?
  end

  def percentile(results, phase)
    took = results.filter_map { |at, _, seconds| seconds if at == phase }.sort
    took[(took.size * 0.99).floor] || 0
  end

  def private_memory
    File.read("/proc/#{@server.pid}/smaps_rollup").scan(/^Private_\w+:\s+(\d+)/).flatten.sum(&:to_i)
  end
end
