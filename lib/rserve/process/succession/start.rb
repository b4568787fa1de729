# frozen_string_literal: true

require "io/wait"
require "rbconfig"
require "socket"
require "rserve/log/log_stream"
require "rserve/process/succession/generation"

module Rserve
  # The generations of one server, and their keeper: restarts that overlap.
  module Succession
    # What the keeper is: a Ruby without anything, that loads the native library and stays in it.
    PROGRAM = "require ARGV.shift; Process.setproctitle(ARGV.shift); Rserve::Native.release_stack; " \
              "Rserve::Native.keep(*ARGV.shift(2).map(&:to_i), ARGV.shift, ARGV.shift == 'true', ARGV)"
    # Seconds that the keeper has to start.
    PATIENCE = 10
    private_constant :PROGRAM, :PATIENCE

    class << self
      # Can this configuration have a keeper?
      def possible?(options)
        options[:overlap_restart] && options[:workers].to_i.positive? && options[:preload_app] && !options[:fork_worker]
      end

      # Goes on in a child, as the first generation; this process becomes the keeper, and keeps its pid.
      #
      # @param restart [Restart] how another generation is started
      # @param title [String] of the keeper
      # @param skip_usr2 [Boolean] USR2 is somebody else's
      # @return [Generation]
      def begin(restart, title:, skip_usr2:)
        socket, keepers = UNIXSocket.pair(:SEQPACKET)
        LogStream.settle
        pid = Process.fork
        if pid
          socket.close
          become_keeper(restart, [pid, keepers.fileno, restart.dir, skip_usr2], title, keepers)
        end
        keepers.close
        # Ctrl-C is the keeper's: it reaches every process of the terminal's group.
        Process.setpgid(0, 0)
        # Before that a signal to the keeper would end it, and the server would seem to be up.
        socket.wait_readable(PATIENCE)
        Generation.current = Generation.new(socket, number: 1)
      end

      private

      def become_keeper(restart, arguments, title, socket)
        library = $LOADED_FEATURES.find { |path| path.end_with?("/rserve.#{RbConfig::CONFIG["DLEXT"]}") }
        ENV.replace(restart.environment)
        restart.defer_signals
        keeper = [RbConfig.ruby, "--disable-all", "-e", PROGRAM, library, title, *arguments.map(&:to_s)]
        exec(*keeper, *restart.command, socket => socket, close_others: true)
      end
    end
  end
end
