# frozen_string_literal: true

require "rbconfig"

module Rserve
  # A process beside a cluster's master that is there for as long as the master is, and started again when it ends: a
  # bare Ruby with nothing but the native library in it. Of what the master has open it gets what it is handed.
  class HelperProcess
    # It lives by a pipe: signals to the terminal's or the service's processes are the master's to decide on.
    SCRIPT = <<~RUBY.tr("\n", ";").freeze
      library, $0 = ARGV.shift(2)
      %w[INT TERM HUP QUIT USR1 USR2].each { |name| trap(name, "IGNORE") }
      require library
      Rserve::Native.release_stack
      token = ENV.delete("RSERVE_OPERATOR_TOKEN")
      ARGV << "token=" + token if token
      Rserve::Native.serve_operator(ARGV)
    RUBY
    # The program of this process, be its file replaced meanwhile.
    PROGRAM = "/proc/self/exe"
    ENVIRONMENT = { "MALLOC_ARENA_MAX" => "1" }.freeze
    # One that has lived for so long is started again at once.
    STEADY = 10
    LONGEST_PAUSE = 60
    # Seconds for it to end.
    PATIENCE = 3
    private_constant :SCRIPT, :PROGRAM, :ENVIRONMENT, :STEADY, :LONGEST_PAUSE, :PATIENCE

    # @return [IO] it ends when nobody has this open any more
    attr_reader :lifeline

    # @return [Integer]
    attr_reader :pid

    # @param log_writer [LogWriter]
    # @param title [String] what the process calls itself
    # @param arguments [Array<String>] `name=value`
    # @param fds [Hash{Integer => String}] what it is handed, and what that is called among the arguments
    # @param token [String, nil] everybody can read arguments
    def initialize(log_writer, title:, arguments:, fds:, token: nil)
      @log_writer = log_writer
      @title = title
      @arguments = arguments + fds.map { |fd, name| "#{name}=#{fd}" }
      @fds = fds.keys
      @environment = ENVIRONMENT.merge({ "RSERVE_OPERATOR_TOKEN" => token }.compact)
      @lock = Mutex.new
      @ends = ConditionVariable.new
    end

    # @param former [IO, nil] lifeline of a process that is to go as soon as this one is there
    def start(former = nil)
      spawn(former)
      watch
    end

    # The thread that watched was left in another process.
    def follow_fork
      watch
    end

    # Ends it, and waits for that.
    def stop
      let_go
      @lifeline.close
      return if @watch.join(PATIENCE)

      Process.kill(:KILL, @pid)
      @watch.join
    end

    # It will be another program's: it is not started again.
    def let_go
      @lock.synchronize do
        @ending = true
        @ends.signal
      end
    end

    # A child of this process must not keep it alive.
    def close_in_child
      [@lifeline, @report].each(&:close)
    end

    private

    def spawn(former = nil)
      @report, report = IO.pipe
      life, @lifeline = IO.pipe
      arguments = ["end=#{life.fileno}", *("former=#{former.fileno}" if former), *@arguments]
      handed = [*@fds, life.fileno, *former&.fileno].to_h { |fd| [fd, fd] }
      @pid = Process.spawn(@environment, [PROGRAM, @title], "--disable-all", "-e", SCRIPT, library, @title, *arguments,
                           **places(report), **handed)
    ensure
      [life, report, former].each { |io| io&.close }
    end

    # What it says goes to the master, whose log may be another file by then.
    def places(report)
      { in: File::NULL, out: File::NULL, err: report, chdir: "/", pgroup: true, close_others: true }
    end

    def library
      abi = RbConfig::CONFIG.fetch("ruby_version")
      $LOADED_FEATURES.find { |path| path.end_with?("/rserve/#{abi}/rserve.#{RbConfig::CONFIG.fetch("DLEXT")}") }
    end

    def watch
      @watch = Rserve.new_thread do
        Rserve.set_thread_name "operator"
        keep_running
      end
    end

    def keep_running
      pause = 0
      loop do
        begun = now
        how = await_end
        return if @ending

        pause = now - begun > STEADY ? 0 : (pause * 2).clamp(1, LONGEST_PAUSE)
        @log_writer.log "! The operator's process (PID: #{@pid}) ended: #{how}; next attempt in #{pause}s"
        return if ends_within?(pause)

        spawn_again
      end
    end

    def ends_within?(seconds)
      @lock.synchronize do
        @ends.wait(@lock, seconds) unless @ending
        @ending
      end
    end

    # There may be no process, or no descriptor, left for it just now.
    def spawn_again
      spawn
    rescue SystemCallError => e
      @log_writer.log "! Unable to start the operator's process: #{e.message}"
      @report = StringIO.new
    end

    # By the end of what it says, not by its status alone: that may be fetched by whoever waits for any child.
    def await_end
      said = @report.read.to_s.lines.last&.strip
      @report.close
      [exit_status, said].compact.join(", ")
    end

    def exit_status
      Process.wait2(@pid).last.to_s.sub(/\Apid \d+ /, "")
    rescue Errno::ECHILD
      nil
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
