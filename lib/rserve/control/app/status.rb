# frozen_string_literal: true

require "rserve/puma/util"
require "rserve/puma/json_serialization"

module Rserve
  # Rack applications of the server's own.
  module App
    # The control application: statistics and commands by HTTP, named by the last part of the path.
    class Status
      # The answer to a command that was carried out.
      OK_STATUS = '{ "status": "ok" }'

      # Commands that only read.
      DATA_COMMANDS = %w[gc-stats generations metrics stats thread-backtraces threads].freeze

      # @param launcher [Launcher]
      # @param token [String, nil] the `token` parameter every request must have; blank or "none" lets anybody in. By
      #   position, as up to Puma 7.1, or by name, as since
      # @param data_only [Boolean] refuse commands that change anything
      def initialize(launcher, positional_token = nil, token: positional_token, data_only: false)
        @launcher = launcher
        @auth_token = token.to_s
        @data_only = data_only
      end

      # (see Rack::Builder#call)
      def call(env)
        return respond(403, "Invalid auth token", "text/plain") unless authenticate(env)

        command = env["PATH_INFO"].to_s[%r{/([^/]+)\z}, 1]
        if @data_only && command && !DATA_COMMANDS.include?(command)
          return respond(404, %(Command "#{command}" unavailable), "text/plain")
        end

        dispatch(command)
      end

      private

      def dispatch(command)
        case command
        when "stop", "halt", "restart"
          @launcher.send(command) # begins it only; the control server sends this answer before it goes down
          respond(200, OK_STATUS)
        when "phased-restart" then answer(@launcher.phased_restart, "phased_restart not available")
        when "reopen-log" then answer(@launcher.reopen_logs, "reopen_log not available")
        when "refork" then answer(@launcher.refork, "refork not available")
        when "reload-worker-directory"
          answer(@launcher.send(:reload_worker_directory), "reload_worker_directory not available")
        when "generations" then generations
        when "gc" then answer(GC.start.nil?, "")
        when "gc-stats" then respond(200, JSONSerialization.generate(GC.stat))
        when "stats" then respond(200, JSONSerialization.generate(@launcher.stats))
        when "threads", "metrics" then telemetry(command)
        when "thread-backtraces" then respond(200, backtraces)
        else respond(404, "Unsupported action", "text/plain")
        end
      end

      def telemetry(command)
        telemetry = @launcher.telemetry
        return answer(false, "#{command} not available: the configuration has no `telemetry`") unless telemetry
        return respond(200, telemetry.threads) if command == "threads"

        type, text = telemetry.metrics("")
        respond(200, text, type)
      end

      def answer(done, refusal)
        done ? respond(200, OK_STATUS) : respond(404, %({ "error": "#{refusal}" }))
      end

      # How the keeper's restarts go.
      def generations
        generation = @launcher.generation
        return respond(404, '{ "error": "generations not available" }') unless generation

        respond(200, generation.standing)
      end

      # Those of this process first, as Puma has them; then those of the workers.
      def backtraces
        own = []
        @launcher.thread_status { |name, backtrace| own << { name:, backtrace: } }
        workers = @launcher.respond_to?(:worker_backtraces) ? @launcher.worker_backtraces : []
        arrays = [JSONSerialization.generate(own), *workers]
        "[#{arrays.map { |array| array[1..-2] }.reject(&:empty?).join(",")}]"
      end

      def authenticate(env)
        return true if @auth_token.empty? || @auth_token == "none"

        same_token?(Util.parse_query(env["QUERY_STRING"])["token"].to_s)
      rescue ArgumentError
        false # it is no query
      end

      # In a time that does not tell how much of it is right.
      def same_token?(given)
        octets = given.bytes
        difference = octets.size ^ @auth_token.bytesize
        @auth_token.each_byte.with_index { |octet, index| difference |= octet ^ (octets[index] || 0) }
        difference.zero?
      end

      def respond(status, body, type = "application/json")
        [status, { "content-type" => type, "content-length" => body.bytesize.to_s }, [body]]
      end
    end
  end
end
