# frozen_string_literal: true

module Rserve
  class DSL
    # Words about what is logged, and where.
    module Logging
      # Logs more about the server's own doings.
      def debug
        @options[:debug] = true
      end

      # Writes the access log.
      #
      # The default is false.
      def log_requests(enabled = true)
        @options[:log_requests] = enabled
      end

      # Does not write the access log.
      def quiet(enabled = true)
        @options[:log_requests] = !enabled
      end

      # Takes every line in place of the standard output.
      #
      # @param logger [#write]
      def custom_logger(logger)
        @options[:custom_logger] = logger
      end

      # Makes each log line out of its text.
      #
      # @example
      #   log_formatter { |line| "[#{Process.pid}] #{Time.now}: #{line}" }
      def log_formatter(&block)
        @options[:log_formatter] = block
      end

      # Writes the standard streams to files, opened anew on HUP.
      #
      # @example
      #   stdout_redirect "log/out.log", "log/err.log", true
      # @param append [Boolean] keep what is in the files
      def stdout_redirect(stdout = nil, stderr = nil, append = false)
        @options[:redirect_stdout] = stdout
        @options[:redirect_stderr] = stderr
        @options[:redirect_append] = append
      end

      # Does not warn about a cluster of one worker.
      def silence_single_worker_warning
        @options[:silence_single_worker_warning] = true
      end

      # Does not warn about hooks that never run without a cluster.
      def silence_fork_callback_warning
        @options[:silence_fork_callback_warning] = true
      end
    end
  end
end
