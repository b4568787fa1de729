# frozen_string_literal: true

require "rserve/process/blame"
require "rserve/process/succession/generation"

module Rserve
  module Succession
    # A {Launcher} whose server has a keeper. What ends or restarts the server is the keeper's to say: it is asked, and
    # gives its orders.
    module UnderKeeper
      # Takes a launcher's place in the succession.
      def self.take(launcher, generation)
        launcher.extend(self)
        launcher.join_succession(generation)
      end

      # @return [Generation]
      attr_reader :generation

      # @param generation [Generation]
      def join_succession(generation)
        @generation = generation
        @pid = Process.pid
        check_mode
        tell_operators
        generation.settings(restart_settings)
        generation.listen do |order, text|
          obey(order, text)
        rescue StandardError => e
          @log_writer.unknown_error(e, nil, "Order of the keeper: #{order}")
        end
      end

      # Asks the keeper, as all commands of a generation do.
      def stop = ask(:stop)

      # Asks the keeper, as all commands of a generation do.
      def halt = ask(:halt)

      # Asks the keeper, as all commands of a generation do.
      def restart = ask(:restart)

      # @return [true]
      def phased_restart
        log "* phased-restart called but not available, restarting normally."
        ask(:restart)
        true
      end

      # @return [Hash] with the generation's number and how the restarts have gone
      def stats
        figures = @generation.standing
        counts = %w[succeeded failed].to_h { |name| [name.to_sym, figures[/"#{name}":(\d+)/, 1].to_i] }
        super.merge(generation: @generation.number, restarts: counts,
                    last_restart_seconds: figures[/"seconds":([\d.]+)/, 1]&.to_f).compact
      end

      # @return [String]
      def title = "#{super} generation #{@generation.number}"

      # @return [Integer] the process that operators signal
      def server_pid = @generation.keeper_pid

      # The keeper holds the listeners for the next generation.
      def hand_over_listeners
        # At the end what a keeper of an earlier version does not know.
        @generation.listening(@binder.handover + @operator_port.handover + @runner.control_handover +
                              @binder.tickets_handover)
      end

      # @return [Boolean] does it serve, or has it?
      def leads?
        @leads || !@generation.proves_itself?
      end

      # All workers have booted.
      def generation_booted
        @generation.booted
      end

      private

      def ask(what)
        @generation.ask(what)
      end

      def check_mode
        return if clustered? && !@options[:fork_worker]

        raise ConfigError, "without workers, or with fork_worker, there is no overlap_restart: stop and start again"
      end

      def restart_settings
        ready = @options[:restart_ready]
        {
          workers: @options[:workers], step: @options[:restart_step], boot_timeout: @options[:worker_boot_timeout],
          settle: @options[:restart_settle], drain: @options[:restart_drain],
          pidfile: @options[:pidfile] && File.expand_path(@options[:pidfile]),
          ready_path: ready && ready[:path], ready_timeout: ready && ready[:timeout],
          ready_interval: ready && ready[:interval]
        }
      end

      # Runs on a thread of its own; hooks run on the main one.
      def obey(order, text)
        case order
        when "serve" then @generation.open
        when "lead" then lead
        when "drain" then drain
        when "grow" then text.to_i.times { @runner.add_worker }
        when "shrink" then text.to_i.times { @runner.remove_worker }
        when "signal" then @signals&.deliver(text)
        when "log" then log(text)
        when "standing" then tell_operators
        when "give_up" then give_up
        else end_by(order)
        end
      end

      def tell_operators
        telemetry&.tell_restarts(@generation.number, @generation.restart_counts)
      end

      def end_by(order)
        @ordered = true
        case order
        when "interrupt" then stop_or_interrupt(Interrupt.new("")) { stopping? ? @runner.cancel : really(:stop) }
        when "terminate" then really(:terminate)
        when "halt" then really(:halt)
        when nil # nobody could restart or stop what goes on
          log "! The keeper is gone"
          really(:terminate)
        end
      end

      # As a launcher without keeper does it.
      def really(command)
        Launcher.instance_method(command).bind_call(self)
      end

      def lead
        @leads = true
        @runner.on_main_thread do
          @operator_port.serve
          write_state
          @runner.run_control
          @events.fire_after_booted!
        end
      end

      # What one closes before another one opens it is closed now.
      def drain
        @ordered = true
        return exit!(0) unless @runner.serving?

        @runner.on_main_thread do
          if leads?
            @runner.abandon_control
            @events.fire_before_restart!
            @config.run_hooks(restart_hook, self, @log_writer)
            @operator_port.abandon
          end
          @generation.resigned
          @status = :restart
          @runner.restart
        end
      end

      # It has not booted in time: where is it?
      def give_up
        frame = Blame.frame(RuntimeError.new.tap { |error| error.set_backtrace(@run_thread&.backtrace || []) })
        @generation.failed("at", frame.to_s[/\A.+?:\d+/]) if frame
      ensure
        exit!(1)
      end

      # ---- what a launcher does otherwise -------------------------------------------------------------------------

      def terminate = ask(:terminate)

      def hang_up
        @runner.redirected_io? ? super : ask(:stop)
      end

      # The keeper removes it.
      def write_pid(path)
        OwnFile.write(path, server_pid)
      end

      # The listeners are the keeper's, and others may serve on them.
      def remove_traces
        super if @generation.number == 1
      end

      def finish(previous_env)
        @generation.leaving unless @ordered
        super
      end

      # Another generation serves.
      def hot_restart(_previous_env)
        @events.fire_after_stopped! if leads?
      end
    end
  end
end
