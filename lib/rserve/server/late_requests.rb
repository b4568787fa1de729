# frozen_string_literal: true

module Rserve
  class Server
    # What is told of requests that the application has had for too long (`request_timeout`).
    module LateRequests
      private

      # The soft time-out of a request has passed.
      #
      # @param thread [Thread] that has it
      # @param env [Hash]
      # @param backtrace [Array<String>, nil] of the thread
      # @param request [String] method and path, as they were sent
      # @param seconds [Float]
      def tell_late(thread, env, backtrace, request, seconds)
        method, path = request.split(" ", 2)
        seconds = seconds.round(1)
        @log_writer.warn_of_thread(
          "#{request} has been in the application for #{seconds} s, on thread #{thread.name.inspect}:", backtrace,
          **{ method:, path:, seconds:, thread: thread.name, request_id: readable(env["HTTP_X_REQUEST_ID"]) }.compact
        )
        run_timeout_hooks(env, thread, seconds)
      end

      def readable(octets)
        octets&.dup&.force_encoding(Encoding::UTF_8)&.scrub
      end

      # On a thread of their own: whatever they do, requests are served meanwhile, and the server can be stopped.
      def run_timeout_hooks(env, thread, seconds)
        hooks = @options.all_of(:on_request_timeout)
        return if hooks.empty?

        Rserve.new_thread do
          Rserve.set_thread_name "request timeout"
          hooks.each { |hook| Hook.call(:on_request_timeout, @log_writer) { hook.call(env, thread, seconds) } }
        end
      rescue ThreadError => e
        @log_writer.log("WARNING hook on_request_timeout was not run: #{e.message}")
      end

      # The hard time-out of a request has passed, and its client was answered.
      def give_up(message)
        instead = @worker ? "another worker takes this one's place" : "another thread takes its place"
        @log_writer.log "! #{message}; #{instead}"
        @worker&.want_replacement(:hung_request) unless shutting_down?
      end
    end
  end
end
