# frozen_string_literal: true

require "rserve/process/runner"

module Rserve
  # Serves from this process, without workers.
  class Single < Runner
    # @return [Hash] the server's figures between when it started and what it runs on
    def stats
      { started_at: utc_iso8601(@started_at), **(@server&.stats || {}), **common_stats }
    end

    # Begins to stop; requests at hand are answered.
    def stop
      announce_stop
      @server&.stop(false)
    end

    # Ends a stop that takes too long, and the requests that it waits for; or the time before it begins.
    def cancel
      return stop if @retires && !@announced

      log "! Cancelled waiting for requests"
      @server&.cancel
    end

    # As {#stop}, because of TERM: after `shutdown_delay`, unless told twice.
    def terminate
      delay = @options[:shutdown_delay]
      return stop if @retires || !delay&.positive?

      @retires = true
      log format("- Serving for %gs more, then shutting down", delay)
      @server.retire
      Rserve.new_thread do
        sleep delay
        stop
      end
    end

    # Opens log files anew and reads certificates again, or stops when there are no log files.
    def hang_up
      return @launcher.stop unless redirected_io?

      @server.reload_certificates
      reopen_logs
    end

    # Begins to stop without answering anything.
    def halt
      @server&.halt(false)
    end

    # Begins to stop so that another incarnation can take over.
    def restart
      @server&.begin_restart(false)
    end

    # Stops, and waits for it.
    def stop_blocked
      announce_stop
      stop_control
      @server&.stop(true)
    end

    # The server is at its end, by `status`: tells whom it concerns, and closes the listeners.
    def conclude(status)
      if status == :halt
        log "* Stopping immediately!"
      else
        stop_blocked
        @events.fire_after_stopped!
      end
      @launcher.close_binder_listeners
    end

    # Is there a server that `stop` can reach?
    def serving?
      !@server.nil?
    end

    # @return [Integer, nil] there is no phase without workers
    def phase; end

    # Serves until the server is stopped.
    def run
      output_header "single"
      warn_retirement
      start_operator_port
      load_and_bind
      Plugins.fire_background
      @launcher.write_state
      start_control
      server = start_server
      thread = server.run
      @launcher.begin_serving { @server = server } # from here on signals stop the server, not this thread
      log "Use Ctrl-C to stop"
      warn_ruby_mn_threads
      begin_redirect
      @events.fire_after_booted!
      debug_loaded_extensions "Loaded Extensions:" if @log_writer.debug?
      Native.release_stack
      thread.join
      nil
    end

    private

    def warn_retirement
      idle = %i[worker_max_memory max_requests worker_lifetime refork_after].select { |word| @options[word] }
      log "! #{idle.join(", ")}: no effect without workers" unless idle.empty?
    end

    def announce_stop
      return if @announced

      @announced = true
      @launcher.binder.turn_newcomers_away
      log "- Gracefully stopping, waiting for requests to finish"
    end
  end
end
