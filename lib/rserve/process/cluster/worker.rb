# frozen_string_literal: true

require "rserve/process/runner"
require "rserve/server"

module Rserve
  class Cluster < Runner
    # A worker process: loads the application, serves it, and tells the master how it does. Worker 0 may also fork the
    # others (`fork_worker`), and does not serve meanwhile; or one that has served for a while is told to serve no more,
    # and to fork the others from then on (`refork_after`).
    class Worker < Runner
      # @return [Integer] position in the cluster, from 0
      attr_reader :index

      # TERM came to a worker that has nothing to finish yet.
      def self.end_early(log_writer)
        log_writer.log "Early termination of worker"
      ensure
        exit!(0)
      end

      # @param launcher [Launcher]
      # @param index [Integer]
      # @param link [Native::Worker] the pipes to the master
      # @param app [#call, nil] the application, when it is loaded already
      def initialize(launcher, index:, link:, app:)
        super(launcher)
        @index = index
        @link = link
        @app = app
        @pid = Process.pid
        @hook_data = {}
        @stopping = false
        @retires = false
        @molds = false
        @idle = false
      end

      # Boots, serves until the end, and returns.
      def run
        set_title
        LogWriter::JsonFormatter.worker = @index
        Native.set_log_worker(@index, @link.phase)
        trap_signals
        booting { watch_master }
        log_gemfile
        @config.run_hooks(:before_worker_boot, @index, @log_writer, @hook_data)
        booting { @server = prepare_server }
        trap_term
        @link.mold? ? serve_and_fork : serve
        @config.run_hooks(:before_worker_shutdown, @index, @log_writer, @hook_data)
      ensure
        @link.terminating if @booted
      end

      # @api private
      # Tells the master, which stops when all workers are idle.
      def tell_idle(idle)
        @link.idle(idle) if @idle != idle
        @idle = idle
      end

      # @api private
      # Has the master replace this worker, which serves until another one does.
      #
      # @param reason [Symbol]
      def want_replacement(reason)
        return if @replaced || @stopping || @retires

        @replaced = true
        @link.retire(reason)
      end

      private

      def set_title
        tag = @options[:tag].to_s
        title = "#{Rserve.process_name}: cluster worker #{@index}: #{@launcher.pid}"
        $0 = tag.empty? ? title : "#{title} [#{tag}]" # not setproctitle: gems read which worker this is from $0
      end

      def trap_signals
        Signal.trap("INT", "IGNORE") # Ctrl-C reaches every process of the terminal; the master decides
        Signal.trap("CHLD", "DEFAULT")
        trap_term
        Signal.trap("HUP") { outside_trap { redirected_io? ? hang_up : terminate } }
        dump = Rserve.backtrace_signal(@config.compat_level)
        Signal.trap(dump) { outside_trap { @launcher.log_thread_status } } if dump
      end

      # In a trap no lock can be taken, and reopening a stream takes its lock.
      def outside_trap(&)
        Rserve.new_thread(&)
      rescue ThreadError
        nil # it has to be sent again when there are threads
      end

      def hang_up
        @server&.reload_certificates
        reopen_logs
      end

      # Set before the application is loaded, and again after: what it set for itself would keep the worker from ending.
      def trap_term
        Signal.trap("TERM") { terminate }
      end

      def terminate
        # A process forked from this one has this trap until it sets its own.
        return self.class.end_early(@log_writer) unless (@server || @molds) && Process.pid == @pid

        @link.got_term
        @stopping = true
        @server&.stop
      end

      # A worker without its master would serve for ever what nobody can restart or stop.
      def watch_master
        Rserve.new_thread do
          Rserve.set_thread_name "wrkr check"
          heed_master
          begin
            log "! Detected parent died, dying"
          ensure
            exit!(1)
          end
        end
      end

      # Returns when the master is gone.
      def heed_master
        loop do
          case @link.hear_master
          when :question then answer_question
          when :goodbye then retire
          when :gone then break
          end
        end
      end

      # Somebody asks where the threads are. What cannot be told must not end the watch.
      def answer_question
        @link.answer(@launcher.backtraces_of(@index))
      rescue StandardError => e
        @log_writer.unknown_error(e, nil, "Backtraces")
      end

      def log_gemfile
        return if ENV["BUNDLE_GEMFILE"]

        file = %w[Gemfile gems.rb].find { |name| File.exist?(name) }
        log "+ Gemfile in context: #{File.expand_path(file)}" if file
      end

      def prepare_server
        start_server.tap do |server|
          server.serve_for(self, @link)
          server.wait_for(@launcher.generation) if @launcher.generation&.proves_itself?
        end
      end

      def booting
        yield
      rescue Exception => e # rubocop:disable Lint/RescueException
        tell_why(e)
        # Where no thread can be made, Ruby 3.4 waits in `exit` for one of its own, for ever.
        e.is_a?(ThreadError) ? exit!(1) : exit(1)
      end

      # All workers fail alike as a rule, and each again and again: the same reason is logged once.
      def tell_why(error)
        frames = @log_writer.debug? ? error.backtrace || [] : Blame.frames(error)
        reason = ["#{error.class}: #{error.message}", *frames.map { |frame| "  at #{frame}" }]
        return unless @link.news?(reason.hash & 0xffff_ffff)

        @launcher.generation&.failed("as a worker booted", Blame.line(error))
        log "! Unable to start worker"
        reason.each { |line| log line }
      end

      def booted
        @booted = true
        @link.booted
        debug_loaded_extensions "Loaded Extensions - worker 0:" if @index.zero? && @log_writer.debug?
        start_pings
      end

      # Pings come from an ordinary Ruby thread, so that a worker is found whose threads cannot run.
      def start_pings
        server = @server
        Rserve.new_thread do
          Rserve.set_thread_name "stat pld"
          # The pool's threads start one by one, and the master keeps its first figures for a whole interval.
          until server.running >= @options[:min_threads] || server.short_of_threads? || server.shutting_down?
            sleep 0.001
          end
          loop do
            ping
            sleep @options[:worker_check_interval]
          end
        end
      end

      def ping
        server = @server
        server ? server.ping : @link.ping_idle(@options[:max_threads])
      end

      # The master hears of it when there is somebody to serve: what fails before counts as a boot that failed.
      def serve
        thread = booting { start_serving }
        booted
        await_promotion if @link.promotable?
        thread.join
        be_the_mold if @molds && !@stopping
      end

      # The end is near, and whoever sends requests here is being told.
      def retire
        @retires = true
        @server&.retire
      end

      # @return [Thread]
      def start_serving
        thread = @server.run
        @server.retire if @retires
        @server.stop if @stopping # TERM came before there was anything to stop
        thread
      end

      # ---- the mold under refork_after ------------------------------------------------------------------------------

      def await_promotion
        Rserve.new_thread do
          Rserve.set_thread_name "promotion"
          command = nil
          command = @link.next_command until command
          promote if command == :promote
        end
      end

      # It finishes its requests. The listeners are its children's, too.
      def promote
        @molds = true
        @link.promoted
        @server.begin_restart
      end

      # Forks workers for as long as the master wants. What has served its time would stay in every child.
      def be_the_mold
        @server = nil
        set_mold_title
        GC.start
        @link.molded
        until @stopping
          case command = @link.next_command
          when :pause then @config.run_hooks(:before_refork, nil, @log_writer, @hook_data)
          when :resume_after_refork then @config.run_hooks(:after_refork, nil, @log_writer, @hook_data)
          when :leave then break
          when Integer then fork_worker(command)
          end
        end
      end

      def set_mold_title
        $0 = $PROGRAM_NAME.sub("cluster worker #{@index}:", "cluster mold:")
      end

      # ---- worker 0 under fork_worker ---------------------------------------------------------------------------

      def serve_and_fork
        booted
        until @stopping
          case command = @link.next_command
          when :pause then pause
          when :resume then start_serving
          when :resume_after_refork then resume_after_refork
          when :leave then break
          when Integer then fork_worker(command)
          end
        end
        @server.stop(true)
      end

      # No native thread may be there when it forks: the child would find its locks taken. And no garbage, such as the
      # descriptors of cores that have served their time: it would stay in every child.
      def pause
        @server.begin_restart(true)
        GC.start
        @config.run_hooks(:before_refork, nil, @log_writer, @hook_data)
      end

      def resume_after_refork
        @config.run_hooks(:after_refork, nil, @log_writer, @hook_data)
        start_serving
      end

      def fork_worker(index)
        @config.run_hooks(:before_worker_fork, index, @log_writer)
        pid = ForkGuard.hold { fork_process { become_another(index) } }
        @config.run_hooks(:after_worker_fork, index, @log_writer)
        @link.forked(index, pid)
        reap(pid)
      rescue StandardError => e
        log "! Unable to start worker: #{e.message}" # the master asks again
      end

      def become_another(index)
        ForkGuard.renew
        self.class.new(@launcher, index:, link: @link.descendant(index), app: @app).run
      end

      # By a thread for each, not by CHLD: that is the application's, and so are its other children.
      def reap(pid)
        Rserve.new_thread do
          Process.wait(pid)
          @link.wake_up
        end
      end
    end
  end
end
