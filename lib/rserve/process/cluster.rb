# frozen_string_literal: true

require "rserve/process/runner"

module Rserve
  class Cluster < Runner
    # It is there before its parts: nothing needs to load it for them.
  end
end

require "rserve/process/cluster/worker"
require "rserve/process/cluster/worker_handle"

module Rserve
  # Serves from worker processes, and keeps them running.
  #
  # The decisions are the native master's: which workers there should be, and which have to go. This class gives it the
  # options and does what it says: forks, runs hooks, writes the log.
  class Cluster < Runner
    # The traps of the master besides the launcher's, with the command that each gives.
    SIGNALS = { "TTIN" => :add_worker, "TTOU" => :remove_worker, "URG" => :refork }.freeze
    # The traps that Puma's master sets after it has preloaded the application.
    AFTER_PRELOADING = ["INT", "TERM", "CHLD", *SIGNALS.keys].freeze
    private_constant :SIGNALS, :AFTER_PRELOADING

    def initialize(launcher)
      super
      if @options[:fork_worker] && @options[:refork_after]
        raise ConfigError, "refork_after and fork_worker are two ways of forking workers from one another: choose one"
      end

      @workers = WorkerList.new(self)
      @errands = Thread::Queue.new
    end

    # @return [Hash] the cluster's figures; a worker's own are as old as its last report
    def stats
      workers = native_workers
      {
        started_at: utc_iso8601(@started_at),
        workers: workers.size,
        phase:,
        booted_workers: workers.count { |worker| worker[:booted] },
        old_workers: workers.count { |worker| worker[:phase] != phase },
        worker_status: workers.map { |worker| worker_status(worker) },
        **common_stats
      }
    end

    # @return [Integer] how often the workers were replaced by a phased restart or a refork
    def phase
      @master ? @master.phase : 0
    end

    # @return [Array<Hash>] what the native master knows about each worker; nothing in a worker, where it would be what
    #   was so at the fork
    def native_workers
      @master && !@in_worker ? @master.workers : []
    end

    # Begins to stop; workers finish their requests.
    def stop
      @status = :stop # what gems look at in stop_workers; not set for TERM, as with Puma
      @master.push(:stop)
    end

    # Ends a stop that takes too long; workers without a master end.
    def cancel
      @master.push(:stop)
    end

    # As {#stop}, because of TERM.
    def terminate
      @master.push(:terminate)
    end

    # Begins to end at once.
    def halt
      @master.push(:halt)
    end

    # Begins a hot restart.
    def restart
      @status = :stop
      @master.push(:restart)
    end

    # Begins to replace the workers one by one.
    #
    # @return [Boolean] false when the application is preloaded, and only a hot restart can load it anew
    def phased_restart
      return false unless phased_restart?

      @master.push(:phased_restart)
      true
    end

    # Begins to replace all workers but 0 by new children of worker 0, or all by children of another mold.
    def fork_worker!
      @master.push(:refork)
    end

    # Opens log files anew, or stops when there are none.
    def hang_up
      @master.push(:reopen_logs)
    end

    # Seconds that a worker has to say where its threads are.
    PATIENCE = 1
    private_constant :PATIENCE

    # @return [Array<String>] of each worker where its threads are, as a JSON array
    def worker_backtraces
      return [] if @master.nil? || @in_worker

      @master.ask_for_backtraces(PATIENCE).map do |index, pid, answer|
        answer || JSONSerialization.generate([silent_worker(index, pid)])
      end
    end

    # Changes to the directory that the server was started in, which may be another one by now, or none.
    #
    # @return [Boolean]
    def reload_worker_directory
      dir = @launcher.restart_dir
      log "+ Changing to #{dir}"
      Dir.chdir(dir)
      @launcher.refresh_title
      true
    rescue SystemCallError => e
      log "! Cannot change the directory: #{e.message}"
      false
    end

    # Is there a cluster that a signal can stop?
    def serving?
      !@master.nil?
    end

    # TERM came to a worker that has no traps of its own yet.
    def end_child
      Worker.end_early(@log_writer)
    end

    # @param signals [Signals]
    def setup_signals(signals)
      SIGNALS.each { |name, command| signals.on(name) { @master&.push(command) } }
      signals.on("CHLD") { @master&.child_ended }
    end

    # What is to be said and done at the end was said and done when the native master said so.
    def conclude(_status); end

    # Runs the workers until the end.
    #
    # @return [Symbol] `:restart`, `:stop`, `:terminate` or `:halt`
    def run
      output_header "cluster"
      log "*      Workers: #{@options[:workers]}"
      start_operator_port
      preload? ? preload : bind_only
      @launcher.take_signals_back(*AFTER_PRELOADING)
      @launcher.begin_serving { @master = Native::Master.new(self, cluster_options) }
      log "Use Ctrl-C to stop"
      warn_single_worker
      warn_ruby_mn_threads
      begin_redirect
      Plugins.fire_background
      proves_itself? ? open_control : show_itself
      @launcher.hand_over_listeners
      @config.run_hooks(:before_fork, nil, @log_writer)
      follow_fork
      warm_up if preload?
      Native.release_stack
      @master.run
    end

    # A worker more, or one fewer, as TTIN and TTOU have it.
    def add_worker = @master.push(:add_worker)

    # (see #add_worker)
    def remove_worker = @master.push(:remove_worker)

    # Calls the block between two rounds of the master's loop.
    def on_main_thread(&block)
      @errands << block
      @master.errand
    end

    # ---- the native master's calls ------------------------------------------------------------------------------

    # Forks a worker.
    #
    # @return [Integer, String] its pid, or why there is none
    def spawn(index, _phase)
      @config.run_hooks(:before_worker_fork, index, @log_writer)
      pid = fork_process { become_worker(index) }
      # Ruby 3.1 notes a signal that comes while it forks, and looks after it when the next one comes: here it is.
      Process.kill(:CHLD, Process.pid)
      debug "Spawned worker: #{pid}"
      @config.run_hooks(:after_worker_fork, index, @log_writer)
      pid
    rescue StandardError => e # not only the system's: Ruby asks `$stdout` and `$stderr`, which may be anybody's
      e.message
    end

    # @return [Integer, true, nil] a child's exit status, or the number of its signal, negative; true for a process
    #   that is gone and was no child; nil for one that lives
    def reap(pid)
      _, status = Process.wait2(pid, Process::WNOHANG)
      return unless status

      @exit_status = status
      status.signaled? ? -status.termsig : status.exitstatus
    rescue Errno::ECHILD
      gone?(pid) || nil
    end

    # What {#on_main_thread} was given.
    def run_errands
      @errands.pop.call until @errands.empty?
    end

    # The keeper hears how many workers there are.
    def staff(workers, booted)
      @launcher.generation.staff(workers, booted)
    end

    # … and of one that ended and was not told to.
    def worker_died(line)
      @launcher.generation.worker_died(line)
    end

    # Tells hooks and plugins of what the core has seen.
    #
    # @param event [Symbol]
    def fire(event)
      case event
      when :booted
        unless proves_itself?
          @events.fire_after_booted!
          follow_fork
        end
        debug_loaded_extensions "Loaded Extensions - master:" if @log_writer.debug?
        @launcher.generation_booted
      when :phase_booted then @events.fire_after_booted!
      when :phase_begun then @events.fire_before_restart!
      when :stopped then @events.fire_after_stopped!
      end
    end

    # Tells the hooks.
    def after_worker_shutdown(index, pid, phase)
      worker = WorkerHandle.new(index:, pid:, phase:, process_status: @exit_status)
      @config.run_hooks(:after_worker_shutdown, worker, @log_writer)
    end

    # For workers that are forked from now on.
    def change_directory
      reload_worker_directory
    end

    # The workers are told to stop after this: applications prepend a method of theirs, to do something before.
    def stop_workers
      log "- Gracefully shutting down workers..."
    end

    # New clients are refused from here on.
    def close_listeners
      close_control_listeners
      # What no other generation listens on, too.
      @launcher.binder.turn_newcomers_away if @launcher.leads?
      @launcher.binder.close
      @launcher.binder.close_listeners
    end

    # Logs what is going on.
    def announce_shutdown
      @launcher.announce_shutdown
    end

    private

    # It is one of a succession, and not yet the one that serves.
    def proves_itself?
      @launcher.generation&.proves_itself? || false
    end

    def silent_worker(index, pid)
      backtrace = ["<does not answer within #{PATIENCE} s>"]
      { name: "Worker #{index} (PID: #{pid})", backtrace:, worker: index, pid: }
    end

    # What began before has to begin again.
    def follow_fork
      return unless @launcher.follow_fork

      @control&.run
      @launcher.write_state
    end

    def show_itself
      @launcher.write_state
      start_control
    end

    def preload?
      !!@options[:preload_app]
    end

    # Only a hot restart can load anew what the master has loaded.
    def phased_restart?
      !preload?
    end

    def preload
      announce_restarts
      log "* Preloading application"
      before = Thread.list
      load_and_bind
      warn_about_threads(Thread.list - before)
    end

    # Collections that an object has to survive for Ruby to take it for old, and one more.
    AGES = 4
    private_constant :AGES

    # What was loaded is old to the workers: the first collection of each need not go through it, and copy the memory
    # that it is in. Some milliseconds here, more than ten for each worker, in one of its first requests.
    def warm_up
      return Process.warmup if Process.respond_to?(:warmup) && @options[:process_warmup]

      AGES.times { GC.start(full_mark: false) }
      Native.trim_heap
    end

    def bind_only
      announce_restarts
      check_app_configured
      bind
    end

    def announce_restarts
      refork = @options[:fork_worker] || @options[:refork_after]
      phased, refork = [phased_restart?, refork].map { |possible| possible ? "✔" : "✖" }
      kind = @launcher.generation ? "overlapping" : "hot"
      log "*     Restarts: (✔) #{kind} (#{phased}) phased (#{refork}) refork"
    end

    # Threads do not survive a fork: the application may miss them in its workers.
    def warn_about_threads(threads)
      threads.reject! { |thread| thread.is_a?(Process::Waiter) || thread.thread_variable_get(:fork_safe) }
      return if threads.empty?

      log "! WARNING: Detected #{threads.size} Thread(s) started in app boot:"
      threads.each { |thread| log "! #{thread.inspect} - #{thread.backtrace&.first}" }
    end

    def warn_single_worker
      return if @options[:workers] != 1 || @options[:silence_single_worker_warning]

      log "! WARNING: Detected running cluster mode with 1 worker."
      log "! A cluster of one pays for a master process that has no second worker to look after."
      log "! With `workers 0` the same threads are served from one process."
      log "! `silence_single_worker_warning` in the configuration file hides this."
    end

    def cluster_options
      {
        workers: first_workers,
        reports_staff: !@launcher.generation.nil?,
        fork_worker: @options[:fork_worker] || nil,
        refork_after: @options[:refork_after],
        redirects_io: redirected_io?,
        telemetry: @launcher.telemetry,
        backtraces: @launcher.backtraces,
        cull_oldest: @options[:worker_culling_strategy] == :oldest,
        **retirement_options,
        **%i[worker_check_interval worker_timeout worker_boot_timeout worker_shutdown_timeout shutdown_delay]
          .to_h { |name| [name, @options[name]] }
      }
    end

    # One that has to prove itself begins with a part of them.
    def first_workers
      all = @options[:workers]
      step = @options[:restart_step] || 1
      proves_itself? && step != :all ? [step, all].min : all
    end

    def retirement_options
      { max_requests: @options[:max_requests], worker_lifetime: @options[:worker_lifetime],
        worker_max_memory: @options[:worker_max_memory], seed: Random.new_seed & 0xffff_ffff }
    end

    def become_worker(index)
      @in_worker = true
      @control&.close_in_child
      @launcher.operator_port.close_in_child
      Worker.new(@launcher, index:, link: @master.worker(index), app: @app).run
    end

    def gone?(pid)
      Process.kill(0, pid)
      zombie?(pid)
    rescue Errno::ESRCH
      true
    rescue Errno::EPERM
      false
    end

    # Worker 0 may have ended before the workers that it forked. Their new parent then fetches their status late, or
    # never: not every container's process 1 does.
    def zombie?(pid)
      File.read("/proc/#{pid}/stat").rpartition(")").last.start_with?(" Z")
    rescue SystemCallError
      false
    end

    def worker_status(worker)
      status = worker[:last_status] || {}
      {
        started_at: utc_iso8601(Time.at(worker[:started_at])),
        pid: worker[:pid],
        index: worker[:index],
        phase: worker[:phase],
        booted: worker[:booted],
        last_checkin: utc_iso8601(Time.at(worker[:last_checkin])),
        last_status: status.slice(*stat_names)
      }
    end

    def stat_names
      tls = @launcher.binder.tls?
      CompatLevel.stat_names(@config.compat_level, tls:, static: @launcher.options.key?(:static),
                                                   fibers: @launcher.options.key?(:fibers))
    end
  end
end
