# frozen_string_literal: true

require "rserve/config/fiber_scheduler_class"
require "rserve/runtime"
require "rserve/server/fiber_advice"
require "rserve/server/thread_pool"

module Rserve
  # The thread whose fibers serve requests that wait (`fiber_routes`). The core says when a request may be begun; what
  # is here is what only Ruby can do: a thread, its scheduler, a fiber for each request.
  class FiberLane
    # How long the pump looks away when no request may be begun, in seconds.
    PAUSE = 0.001
    # So many fibers are begun in a row before those that have waited go on.
    ROW = 16
    # How soon it is tried again to make a fiber when none could be made, in seconds.
    SHORTAGE = 0.1
    private_constant :PAUSE, :ROW, :SHORTAGE

    # @param name [String] of the managing thread; the lane's is `name fibers`
    # @param server [Server] told of failures, and what `Server.current` is in the fibers
    # @param reactor [Native::Core]
    # @param options [UserFileDefaultOptions]
    def initialize(name, server, reactor, options)
      @name = name
      @server = server
      @reactor = reactor
      @options = options
      @scheduler = FiberSchedulerClass.of(options).tap(&:check).resolve
      @control = ServerPluginControl.new(server)
      @interrupts = @scheduler.method_defined?(:fiber_interrupt)
      @fibers = {}
      @number = @told = 0
      @grace_time = Float(options[:pool_shutdown_grace_time] || ThreadPool::SHUTDOWN_GRACE_TIME)
    end

    # Tells what the application should know.
    def advise
      fibers = @options[:fibers]
      FiberAdvice.lines(fibers[:routes] ? "fiber_routes" : "fiber_scheduler", fibers[:max]).each do |line|
        @server.log_writer.log("! WARNING: #{line}")
      end
    end

    # Begins to serve.
    def start
      @thread = Rserve.new_thread { run }
    end

    # If the application has ended the thread, another one takes its place.
    def revive
      return if @thread.alive? || @over

      @server.log_writer.log("! The thread of the fibers has ended; another one takes its place")
      start
    end

    # From now on {#force} may be called.
    #
    # @param after [Numeric, nil] seconds of patience with requests at hand; negative or nil is for ever
    def shut_down(after)
      @force_at = now + after if after && !after.negative?
    end

    # When patience is over {ThreadPool::ForceShutdown} is raised into the fibers that still serve; when that does not
    # help either, the thread is killed.
    def force
      return unless @force_at && now >= @force_at

      if @forced
        cancel
        @force_at = nil
      else
        @forced = true
        @reactor.rouse_pump
        @force_at = now + @grace_time
      end
    end

    # Ends the thread now.
    def cancel
      @over = true
      @thread.kill
    end

    # Waits for the end of the thread.
    def join
      @thread.join
    end

    private

    def run
      Thread.current.report_on_exception = false
      Rserve.set_thread_name "#{@name} fibers"
      Thread.current.thread_variable_set(:rserve_server, @server)
      ThreadPool.run_hooks(:before_thread_start, @options, @control, @server.log_writer)
      schedule
      ThreadPool.run_hooks(:before_thread_exit, @options, @control, @server.log_writer)
    rescue Exception => e # rubocop:disable Lint/RescueException
      @server.log_writer.unknown_error(e, nil, "Fibers")
    end

    # Returns when the pump has left and every fiber has ended.
    def schedule
      Fiber.set_scheduler(@scheduler.new)
      Fiber.schedule { pump }
    ensure
      Fiber.set_scheduler(nil)
    end

    def pump
      bell = IO.for_fd(@reactor.fiber_bell)
      begun = 0
      loop do
        force_all if @forced
        case @reactor.pump
        when :begin
          begin_one
          rest if ((begun += 1) % ROW).zero?
        when :interrupt then tell_of_clients
        when :wait then wait_for(bell)
        when :pause then sleep PAUSE
        when :leave then break
        end
      end
      @over = true
    ensure
      bell&.close
    end

    # Where there can be no more fibers (memory, `vm.max_map_count`), requests wait until others have ended.
    def begin_one
      Fiber.schedule { serve }
      @short = false
    rescue FiberError, NoMemoryError => e
      @server.log_writer.log("! Cannot make another fiber: #{e.message}") unless @short
      @short = true
      sleep SHORTAGE
    end

    def wait_for(bell)
      bell.wait_readable
    ensure
      @reactor.pump_waited
    end

    # Lets the fibers go on that have waited, and other threads have a turn.
    def rest
      Thread.pass
      sleep 0
    end

    def serve
      number = @number += 1
      @fibers[number] = Fiber.current
      @reactor.serve_in_fiber(@interrupts ? number : 0)
    rescue ThreadPool::ForceShutdown, ClientGone
      nil # it was done already
    rescue Exception => e # rubocop:disable Lint/RescueException
      @server.log_writer.unknown_error(e, nil, "Fibers")
    ensure
      @fibers.delete(number)
    end

    # Those whose clients are gone, wherever they wait.
    def tell_of_clients
      @reactor.take_gone.each do |number|
        fiber = @fibers[number]
        raise_in(fiber, ClientGone.new("the client closed the connection")) if fiber
      end
    end

    # Each fiber is told once.
    def force_all
      untold = @fibers.select { |number,| number > @told }.values
      @told = @number
      untold.each { |fiber| raise_in(fiber, ThreadPool::ForceShutdown.new("Detected force shutdown of a thread")) }
    end

    def raise_in(fiber, exception)
      scheduler = Fiber.scheduler
      if scheduler.respond_to?(:fiber_interrupt) then scheduler.fiber_interrupt(fiber, exception)
      else
        # Not from the pump: where schedulers transfer, who raises is not come back to.
        Fiber.schedule { fiber.raise(exception) if fiber.alive? }
      end
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
