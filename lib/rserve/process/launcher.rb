# frozen_string_literal: true

require "rserve/runtime"
require "rserve/server/binder"
require "rserve/config/configuration"
require "rserve/process/events"
require "rserve/process/fork_guard"
require "rserve/config/fiber_scheduler_class"
require "rserve/process/checks/front_door"
require "rserve/log/access_log"
require "rserve/log/log_writer"
require "rserve/operator/port"
require "rserve/process/own_file"
require "rserve/process/checks/own_files"
require "rserve/process/restart"
require "rserve/process/signals"
require "rserve/process/single"
require "rserve/process/succession/start"
require "rserve/process/succession/under_keeper"
require "rserve/control/state_file"
require "rserve/puma/json_serialization"

module Rserve
  # Brings a configuration to life: opens the listeners, runs it in single or cluster mode, and carries signals and
  # control commands out until the end.
  #
  # @example
  #   conf = Rserve::Configuration.new { |user| user.app { [200, {}, ["hello"]] } }
  #   Rserve::Launcher.new(conf, log_writer: Rserve::LogWriter.stdio).run
  class Launcher
    autoload :BundlePruner, "rserve/process/bundle_pruner"

    # @return [Binder]
    attr_reader :binder

    # @return [LogWriter]
    attr_reader :log_writer

    # @return [Events]
    attr_reader :events

    # @return [AccessLog]
    attr_reader :access_log

    # @return [OperatorPort]
    attr_reader :operator_port

    # @return [Configuration]
    attr_reader :config

    # @return [UserFileDefaultOptions]
    attr_reader :options

    # @return [String] where the application is; entered again at each restart
    attr_reader :restart_dir

    # @return [Integer] of this process, and not of the workers it forks
    attr_reader :pid

    # @param conf [Configuration]
    # @param log_writer [LogWriter]
    # @param events [Events, nil] the configuration's own, when nil
    # @param argv [Array<String>] arguments to restart with
    # @param env [Hash, ENV]
    def initialize(conf, log_writer: LogWriter::DEFAULT, events: nil, argv: [], env: ENV)
      @config = conf
      @log_writer = log_writer
      @events = events || conf.events
      @events.follow(conf.events)
      @events.report_to(log_writer)
      @env = env
      @pid = Process.pid
      @status = :run
      @postponed = Thread::Queue.new
      @config._options[:log_writer] = log_writer
      Rserve.cli_config = conf
      @options = @config.clamped? ? @config.options : @config.clamp
      use_log_options

      @restart = Restart.new(argv:, options: @options)
      @restart_dir = @restart.dir
      @binder = Binder.new(log_writer, conf, env:)
      adopt_listeners
      @operator_port = OperatorPort.new(self, @options[:health_bind] || [], env)
      Dir.chdir(@restart_dir)
      prune_bundler(argv)
      export_environment
      log_config if env["PUMA_LOG_CONFIG"]

      @config.plugins.create("systemd") if env["NOTIFY_SOCKET"] && !env["PUMA_SKIP_SYSTEMD"]
      @runner = make_runner
      Rserve.stats_object = @runner
    end

    # Runs until the server is stopped, then cleans up.
    #
    # @raise [SignalException] SIGTERM, when that is what ended it and `raise_exception_on_sigterm` is set
    def run
      @run_thread = Thread.current
      OwnFilesCheck.new(@options, restarted: @restarted).run
      FrontDoorCheck.new(@options).run
      FiberSchedulerClass.of(@options)&.check
      join_succession
      limit_arenas
      telemetry
      Rserve.load_all
      previous_env = @restart.environment
      @config.plugins.fire_starts(self)
      @signals = setup_signals
      set_process_title
      @status = @runner.run || @status
      finish(previous_env)
    rescue Exception => e # rubocop:disable Lint/RescueException
      Succession::Generation.current&.failed("at boot", Blame.line(e))
      remove_traces unless @runner.nil? || @runner.serving?
      raise
    ensure
      @signals&.close(for_good: @program_own)
      @runner&.stop_control
      @operator_port.stop
    end

    # The program is this server's own: it ends with it, and other processes of it may take its place
    # (`overlap_restart`).
    def own_program
      @program_own = true
    end

    # The block makes the server one that commands reach; what came before is carried out then.
    def begin_serving
      follow_fork
      yield
      carry_out_postponed
    end

    # The application, or a hook, may have called `Process.daemon`: then the server is another process, in which
    # no thread is left but the one that called.
    #
    # @return [Boolean]
    def follow_fork
      return false if @pid == Process.pid

      @pid = Process.pid
      @signals&.follow_fork
      telemetry&.follow_fork
      @operator_port.follow_fork
      true
    end

    # Takes signals back that the application has set traps for.
    def take_signals_back(*names)
      @signals&.take_back(*names)
    end

    # @return [Hash] statistics, symbol keys
    def stats
      @runner.stats
    end

    # What operators see of all processes of the server; made before any of them is forked.
    #
    # @return [Native::Telemetry, nil] nil where nobody wants to see anything
    def telemetry
      return unless @options[:telemetry] || @operator_port.wanted?

      @telemetry ||= Native::Telemetry.new(clustered?, @options[:worker_timeout])
    end

    # By what the processes of the server are asked where their threads are; made before any of them is forked.
    #
    # @return [Native::Backtraces]
    def backtraces
      @backtraces ||= Native::Backtraces.new
    end

    # Begins a graceful stop; once a hot restart has ended the server, there is nothing to stop.
    def stop
      return if @restarting || postpone(:stop)

      @status = :stop
      @runner.stop
    end

    # Begins a stop that leaves requests unanswered.
    def halt
      return if postpone(:halt)

      @status = :halt
      @runner.halt
    end

    # Begins a hot restart: the process executes itself anew, with the listeners open. A server that stops does not, nor
    # one that would come up nowhere.
    def restart
      return if stopping? || postpone(:restart)

      fault = @restart.fault
      return log "! Not restarted: #{fault}" if fault

      @status = :restart
      @runner.restart
    end

    # Begins to replace workers one by one, or a hot restart where that is not possible.
    #
    # @return [Boolean] has it begun one or the other?
    def phased_restart
      return true if postpone(:phased_restart)

      if @runner.respond_to?(:phased_restart) && @runner.phased_restart
        true
      else
        log "* phased-restart called but not available, restarting normally."
        restart
        !stopping?
      end
    end

    # Begins to open log files anew and to read certificates again, as HUP does where there are log files.
    #
    # @return [Boolean] are there any?
    def reopen_logs
      return false unless @runner.redirected_io?

      hang_up
      true
    end

    # Begins to fork the workers anew from worker 0, or from the one that has served most.
    #
    # @return [Boolean] could it be done?
    def refork
      possible = @options[:fork_worker] || @options[:refork_after]
      if clustered? && @runner.respond_to?(:fork_worker!) && possible
        @runner.fork_worker!
        true
      else
        log "* refork called but not available."
        false
      end
    end

    # @return [Array<Integer>] TCP ports listened on
    def connected_ports
      @binder.connected_ports
    end

    # @return [Array<String>] the command of a hot restart
    def restart_args
      @restart.command
    end

    # @return [Integer] the process that operators signal
    def server_pid
      Process.pid
    end

    # @return [Succession::Generation, nil] nil without a keeper
    def generation; end

    # @return [Boolean] are the listeners nobody else's?
    def leads? = true

    # The listeners are open.
    def hand_over_listeners; end

    # All workers have booted.
    def generation_booted; end

    # After a restart the server goes on also where a file of its own cannot be written.
    #
    # @param fault [ConfigError]
    # @raise [ConfigError] at a first start
    def bear(fault)
      raise fault unless @restarted

      log "! #{fault.message}"
    end

    # Writes the pid file and the state file, where they are asked for.
    #
    # @raise [ConfigError] when one cannot be written at a first start
    def write_state
      write_own_file("pidfile", @options[:pidfile]) { |path| write_pid(path) }
      write_own_file("state_path", @options[:state]) { |path| save_state(path) }
    end

    # Removes the pid file.
    def delete_pidfile
      path = @options[:pidfile]
      begin
        File.unlink(path) if path
      rescue Errno::ENOENT
        nil
      end
    end

    # Closes the listeners for good and says good-bye, except before a restart.
    def close_binder_listeners
      @runner.close_control_listeners
      @binder.close_listeners
      announce_shutdown unless @status == :restart
    end

    # Says good-bye.
    def announce_shutdown
      log "=== #{Rserve.product.title} shutdown: #{Time.now} ==="
      log "- Goodbye!"
    end

    # @yieldparam name [String] `Thread: TID-…` and what the thread is called
    # @yieldparam backtrace [Array<String>]
    def thread_status
      Thread.list.each do |thread|
        name = +"Thread: TID-#{thread.object_id.to_s(36)}"
        name << " #{thread["label"]}" if thread["label"]
        name << " #{thread.name}" if thread.name
        yield name, thread.backtrace || ["<no backtrace available>"]
      end
    end

    # @param worker [Integer] the index of this process
    # @return [String] where its threads are, as a JSON array
    def backtraces_of(worker)
      threads = []
      thread_status { |name, backtrace| threads << { name:, backtrace:, worker:, pid: Process.pid } }
      JSONSerialization.generate(threads)
    end

    # @return [Array<String>] what the workers of a cluster say of their threads, each a JSON array
    def worker_backtraces
      @runner.respond_to?(:worker_backtraces) ? @runner.worker_backtraces : []
    end

    # @return [String] e.g. "rserve 1.0.0.rc1 as Puma 6.6.0 (tcp://0.0.0.0:9292) [shop]"
    def title
      buffer = "#{Rserve.identity} (#{Array(@options[:binds]).join(",")})"
      tag = @options[:tag].to_s
      tag.empty? ? buffer : "#{buffer} [#{tag}]"
    end

    # The directory was entered again, and may be another release's by now: titles tell its name unless told another.
    def refresh_title
      @options.default_options[:tag] = Configuration.folder_name
      set_process_title
    end

    # Does this configuration ask for worker processes?
    def clustered?
      (@options[:workers] || 0).positive?
    end

    # @return [String] the application's environment
    def environment
      @config.environment
    end

    # Logs where every thread is.
    def log_thread_status
      thread_status do |name, backtrace|
        log name
        log backtrace.map { |line| "  #{line}" }.join("\n")
      end
    end

    # For Ruby's threads, of which one runs at a time: each more holds on to what it once took.
    ARENAS = 2
    private_constant :ARENAS

    private

    # The operator's own word is glibc's.
    def limit_arenas
      said = @env["MALLOC_ARENA_MAX"] || @env["GLIBC_TUNABLES"]&.include?("glibc.malloc.arena_max")
      Native.limit_arenas(ARENAS) unless said
    end

    def log(line)
      @log_writer.log(line)
    end

    def reload_worker_directory
      @runner.reload_worker_directory if @runner.respond_to?(:reload_worker_directory)
    end

    def log_filter
      Native.check_log_filter(@env["RSERVE_LOG"] || @options[:log_level] || "off")
    rescue ArgumentError => e
      raise ConfigError, "RSERVE_LOG: #{e.message}"
    end

    def use_log_options
      json = @options[:log_format] == :json
      Native.log_as_json(json)
      @access_log = AccessLog.new(@options[:access_log], @options[:directory] || Dir.pwd)
      Native.set_log_sample(@options[:log_sample]) if @options[:log_sample]
      Native.set_log_filter(log_filter, @access_log.descriptor)
      @log_writer.formatter = LogWriter::PidFormatter.new if clustered?
      @log_writer.write_json if json
      @log_writer.formatter = @options[:log_formatter] if @options[:log_formatter]
      @log_writer.custom_logger = @options[:custom_logger] if @options[:custom_logger]
    end

    # Listeners of an earlier incarnation, and of systemd. The variables that name them mean nothing to children.
    def adopt_listeners
      inherited = @binder.create_inherited_fds(@env)
      @restarted = !inherited.empty? # a server has served before it
      [*inherited, *@binder.create_activated_fds(@env)].each { |name| @env.delete(name) }
      activated = @options[:bind_to_activated_sockets]
      return unless activated

      @options[:binds] = @binder.synthesize_binds_from_activated_fs(@options[:binds], activated == "only")
    end

    def prune_bundler(argv)
      return unless @options[:prune_bundler] && clustered? && !@options[:preload_app]

      BundlePruner.new(argv, @options[:extra_runtime_dependencies], @log_writer).prune
    end

    def export_environment
      @options[:environment] = environment
      ENV["RACK_ENV"] = environment.to_s
    end

    def make_runner
      return Single.new(self) unless clustered?

      require "rserve/process/cluster"
      Cluster.new(self)
    end

    def join_succession
      if Succession::Generation.current.nil? && @program_own && Succession.possible?(@options)
        Succession.begin(@restart, title:, skip_usr2: @env.key?("PUMA_SKIP_SIGUSR2"))
      end
      generation = Succession::Generation.current
      Succession::UnderKeeper.take(self, generation) if generation
    end

    def finish(previous_env)
      @status == :restart ? hot_restart(previous_env) : @runner.conclude(@status)
      raise SignalException, "SIGTERM" if @terminated && @options[:raise_exception_on_sigterm]
    end

    def hot_restart(previous_env)
      log "* Restarting..."
      @runner.stop_control
      @runner.close_control_listeners
      # INT may be a plugin's whose hook has just ended what it watches.
      @restarting = true
      @events.fire_before_restart!
      @config.run_hooks(restart_hook, self, @log_writer)
      return close_binder_listeners unless @status == :restart # told to terminate meanwhile

      others = @operator_port.hand_on(@binder, previous_env)
      @restart.exec(previous_env, @binder, others)
    end

    def restart_hook
      CompatLevel.restart_hook(@config.compat_level)
    end

    # That it may be written has been looked at ({OwnFilesCheck}); whether there is room shows here.
    def write_own_file(name, path)
      yield path if path
    rescue SystemCallError => e
      bear(ConfigError.new("#{name} #{path}: #{SystemCallError.new(nil, e.errno).message}"))
    end

    def write_pid(path)
      pid = Process.pid
      at_exit { delete_own_pidfile if pid == Process.pid } # also the one that is there since before a restart
      OwnFile.write(path, pid)
    end

    def save_state(path)
      state = StateFile.new
      state.pid = server_pid
      state.control_url = @options[:control_url]
      state.control_auth_token = @options[:control_auth_token]
      state.running_from = File.expand_path(".")
      state.save(path, @options[:state_permission])
    end

    def set_process_title
      Process.setproctitle(title)
    end

    def log_config
      log "Configuration:"
      @config.final_options.each { |key, value| log "- #{key}: #{value}" }
    end

    def terminate
      @terminated = true
      @status = :stop
      return if @restarting # the server is gone, and what happens next depends on the status

      stop_or_interrupt(SignalException.new("SIGTERM")) { @runner.terminate }
    end

    def stopping?
      @terminated || %i[stop halt].include?(@status)
    end

    # Without a lock, which a trap handler could not take.
    #
    # @return [Boolean] there is no server yet: the command is kept for it
    def postpone(command)
      return false if @runner.serving?

      @postponed << command
      carry_out_postponed if @runner.serving? # it began meanwhile, and may have looked before
      true
    end

    def carry_out_postponed
      while (command = next_postponed)
        public_send(command)
      end
    end

    def next_postponed
      @postponed.pop(true)
    rescue ThreadError
      nil
    end

    # The server ends before it serves: what an earlier incarnation left to this one is of no use any more.
    def remove_traces
      delete_own_pidfile
      @binder.remove_unix_paths
    end

    def delete_own_pidfile
      path = @options[:pidfile]
      delete_pidfile if path && File.file?(path) && File.read(path).to_i == Process.pid
    rescue SystemCallError, ArgumentError, TypeError # the path may be none
      nil
    end

    # While the application is being loaded there is no server to stop, and nothing to lose.
    def stop_or_interrupt(exception)
      @runner.serving? ? yield : @run_thread.raise(exception)
    end

    def hang_up
      return if @runner.redirected_io? && !@runner.serving? # they are opened at the end of the boot

      stop_or_interrupt(Interrupt.new("SIGHUP")) { @runner.hang_up }
    end

    def setup_signals
      Signals.outlive_file_limit # a log may be too long, too
      signals = Signals.new(@log_writer)
      signals.on("TERM", in_child: -> { @runner.end_child }) { terminate }
      signals.on("INT") { stop_or_interrupt(Interrupt.new("")) { stopping? ? @runner.cancel : stop } }
      signals.on("HUP") { hang_up }
      signals.on("USR1") { phased_restart }
      signals.on("USR2") { restart } unless @env.key?("PUMA_SKIP_SIGUSR2")
      dump = Rserve.backtrace_signal(@config.compat_level)
      signals.on(dump.delete_prefix("SIG")) { log_thread_status } if dump
      @runner.setup_signals(signals)
      signals
    end
  end
end
