# frozen_string_literal: true

require "rserve/log/log_stream"
require "rserve/runtime"
require "rserve/server/plugin_control"

module Rserve
  # The Ruby threads that serve requests. The core says when one more is wanted and hands requests out; what is here is
  # what only Ruby can do: making, naming, interrupting and killing threads.
  class ThreadPool
    # Raised into threads that are still serving when `force_shutdown_after` is over.
    class ForceShutdown < RuntimeError; end

    # Seconds that a thread has to end after {ForceShutdown} before it is killed, unless `pool_shutdown_grace_time` says
    # otherwise.
    SHUTDOWN_GRACE_TIME = 5

    # @return [Boolean] it takes no new threads
    attr_reader :shutdown

    # @param name [String] of the managing thread; its pool's threads are `name tp 001`
    # @param server [Server] told of failures, and what `Server.current` is in the threads
    # @param reactor [Native::Core]
    # @param options [#all_of, #[]]
    def initialize(name, server, reactor, options)
      @name = name
      @server = server
      @reactor = reactor
      @options = options
      @workers = []
      @shutdown = false
      @short = false
      @control = ServerPluginControl.new(server)
      @grace_time = Float(options[:pool_shutdown_grace_time] || SHUTDOWN_GRACE_TIME)
      @auto_trim = options[:auto_trim_time]
      @trim_at = now + @auto_trim if @auto_trim
    end

    # @return [Integer] threads that are kept without work
    def min = @server.min_threads

    # @return [Integer] threads at most
    def max = @server.max_threads

    # @return [Integer] threads that exist
    def spawned
      @reactor.stats[:running]
    end

    # @return [Integer] threads without a request
    def waiting
      figures = @reactor.stats
      figures[:running] - figures[:busy_threads]
    end

    # Makes one more thread. If that cannot be done just now (`ulimit -u`, a cgroup's `pids.max`) the core is told, and
    # asks again before long; it is logged once.
    def spawn_thread
      @workers.select!(&:alive?)
      number = (1..).find { |n| @workers.none? { |thread| thread[:rserve_number] == n } }
      # The last one that there may be is taken only by a server that has none: somebody else may want it, too.
      thread = Rserve.new_thread(@workers.empty? ? 1 : 2) do
        # Interrupts of ours wait until the application runs: a thread that cannot even start cannot be told to stop.
        Thread.handle_interrupt(ForceShutdown => :never) { run(number) }
      end
      # Not by itself: the next one may be made before this one runs.
      thread[:rserve_number] = number
      @workers << thread
      @short = false
    rescue ThreadError => e
      @reactor.spawn_failed
      @server.log_writer.log("! Cannot make another thread, #{spawned} serve: #{e.message}") unless @short
      @short = true
    end

    # @return [Boolean] no more threads can be made at the moment
    def short?
      @short
    end

    # Lets an idle thread go once in a while.
    def trim
      return unless @trim_at && now >= @trim_at && @server.min_threads < @server.max_threads

      @reactor.trim(false)
      @trim_at = now + @auto_trim
    end

    # From now on {#force} may be called.
    #
    # @param after [Numeric, nil] seconds of patience with requests at hand; negative or nil is for ever
    def shut_down(after)
      @shutdown = true
      @force_at = now + after if after && !after.negative?
    end

    # When patience is over {ForceShutdown} is raised into what still serves; when that does not help either, the
    # threads are killed.
    def force
      return unless @force_at && now >= @force_at

      alive = @workers.select(&:alive?)
      if @options[:shutdown_debug] == :on_force && alive.any?
        dump_backtraces("Shutdown#{" grace" if @forced} timeout exceeded")
      end
      if @forced
        alive.each(&:kill)
        @reactor.halt
        @force_at = nil
      else
        @forced = true
        @reactor.evict
        alive.each { |thread| thread.raise ForceShutdown, "Detected force shutdown of a thread" }
        @force_at = now + @grace_time
        force # at once, without any time for grace
      end
    end

    # Ends every thread now.
    def cancel
      @workers.each(&:kill)
    end

    # Waits for every thread to end.
    #
    # @param but [Array<Thread>] those that are not waited for
    def join(but = [])
      (@workers - but).each do |thread|
        thread.join
      rescue ForceShutdown
        nil # it came when the thread was done already
      end
      @workers.clear
    end

    # Where every thread is, on `stdout` (`shutdown_debug`), as Puma 8 prints it.
    #
    # @param reason [String] the first line
    def dump_backtraces(reason)
      pid = Process.pid
      threads = Thread.list
      lines = [reason, "=== Begin thread backtrace dump ==="]
      threads.each.with_index(1) do |thread, number|
        lines.push("Thread #{number}/#{threads.size}: #{thread.inspect}", *thread.backtrace)
      end
      lines << "=== End thread backtrace dump ==="
      LogStream.new($stdout).write(lines.map { |line| "#{pid}: #{line}\n" }.join)
    end

    # Runs the hooks of threads that begin or end.
    #
    # @param name [Symbol]
    # @param options [#all_of]
    # @param control [ServerPluginControl]
    # @param log_writer [LogWriter]
    def self.run_hooks(name, options, control, log_writer)
      options.all_of(name).each do |hook|
        hook = hook[:block] if hook.is_a?(Hash)
        Hook.call(name, log_writer) { hook.lambda? && hook.arity.zero? ? hook.call : hook.call(control) }
      end
    end

    private

    def run(number)
      Thread.current.report_on_exception = false
      Rserve.set_thread_name Kernel.format("%s tp %03i", @name, number)
      Thread.current.thread_variable_set(:rserve_server, @server)
      hooks(:before_thread_start)
      Thread.handle_interrupt(ForceShutdown => :immediate) { @reactor.work }
      hooks(:before_thread_exit)
    rescue ForceShutdown
      nil # it had nothing to serve
    rescue Exception => e # rubocop:disable Lint/RescueException
      @server.log_writer.unknown_error(e, nil, "Thread pool")
    ensure
      @reactor.leave
    end

    def hooks(name)
      ThreadPool.run_hooks(name, @options, @control, @server.log_writer)
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
