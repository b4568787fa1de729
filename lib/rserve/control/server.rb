# frozen_string_literal: true

require "rserve/runtime"
require "rserve/server/binder"
require "rserve/control/app/status"
require "rserve/control/connection"

module Rserve
  # Serves {App::Status} to `rservectl`: one request per connection, several connections side by side, on one Ruby
  # thread that waits for no client in particular. It runs in a cluster's master too, which must stay free of native
  # threads.
  class ControlServer
    # Seconds that each phase of a connection may take: the handshake, the request's head, the response.
    TIMEOUT = 5
    # Connections at a time; the next one takes the place of the one whose time is up first.
    MOST_CONNECTIONS = 64
    # Seconds that no connection is taken after none could be (no descriptor is left).
    PAUSE = 0.5
    private_constant :TIMEOUT, :PAUSE

    # @param app [#call] given `PATH_INFO` and `QUERY_STRING`
    # @param binder [Binder] its listeners are served, and closed in the end
    # @param timeout [Numeric] seconds that each phase of a connection may take
    def initialize(app, binder, log_writer, timeout: TIMEOUT)
      @app = app
      @binder = binder
      @log_writer = log_writer
      @timeout = timeout
      @connections = []
      @wake_reader, @wake_writer = IO.pipe
      @stopping = false
    end

    # @return [Binder]
    attr_reader :binder

    # Starts serving.
    #
    # @return [Thread]
    def run
      # What a handshake takes, now: later its files may be gone.
      @binder.ios.each { |listener| listener.openssl_context if listener.is_a?(MiniSSL::Server) } if @binder.tls?
      @thread = Rserve.new_thread do
        Rserve.set_thread_name "ctl"
        serve_until_stopped
      end
    end

    # Stops serving. The request at hand is answered, and no client is waited for.
    #
    # @param sync [Boolean] wait until it has
    def stop(sync = false)
      @stopping = true
      wake
      @thread&.join if sync && @thread != Thread.current
    end

    # Closes what this process has of it: it was forked from the one that serves.
    def close_in_child
      @connections.each(&:close_in_child)
      @binder.close
      @wake_reader.close
      @wake_writer.close
    end

    private

    # Closing alone says nothing where a child has the other end, too.
    def wake
      @wake_writer.write("!")
      @wake_writer.close
    rescue IOError, Errno::EPIPE
      nil # it was woken before, or has ended
    end

    def serve_until_stopped
      until @stopping
        ready = wait
        @binder.ios.each { |listener| accept(listener) if ready.include?(listener) }
        @connections.dup.each { |connection| advance(connection) if ready.include?(connection) }
        @connections.select { |connection| connection.deadline <= now }.each { |connection| finish(connection) }
      end
    rescue IOError, Errno::EBADF
      nil # the listeners were closed under us, which is another way to stop
    ensure
      @connections.dup.each { |connection| finish(connection) }
      @wake_reader.close unless @wake_reader.closed?
    end

    # @return [Array<Object>] listeners and connections with something to do
    def wait
      writing, reading = @connections.partition(&:writes?)
      listeners = paused? ? [] : @binder.ios
      dues = @connections.map(&:deadline).push(*(@paused_until if paused?))
      left = [dues.min - now, 0].max if dues.any?
      IO.select([@wake_reader, *listeners, *reading], writing, nil, left).to_a.flatten(1)
    end

    def paused?
      !@paused_until.nil? && @paused_until > now
    end

    def accept(listener)
      socket = tls?(listener) ? listener.accept_unshaken_nonblock : listener.accept_nonblock(exception: false)
      return if socket == :wait_readable

      finish(@connections.min_by(&:deadline)) if @connections.size >= MOST_CONNECTIONS
      @connections << ControlConnection.new(socket, @app, @timeout)
      advance(@connections.last)
    rescue Errno::ECONNABORTED, Errno::EINTR
      nil
    rescue SystemCallError => e
      @paused_until = now + PAUSE
      @log_writer.unknown_error(e, nil, "Control server")
    end

    # Before there is any TLS, nothing of it is loaded.
    def tls?(listener)
      @binder.tls? && listener.is_a?(MiniSSL::Server)
    end

    def advance(connection)
      finish(connection) unless connection.advance
    rescue SystemCallError, IOError => e
      finish(connection)
      @log_writer.debug_error(e, nil, "Control server")
    rescue StandardError, ScriptError => e
      finish(connection)
      @log_writer.unknown_error(e, nil, "Control server")
    end

    def finish(connection)
      connection.close
      @connections.delete(connection)
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
