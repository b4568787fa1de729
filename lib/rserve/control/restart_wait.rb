# frozen_string_literal: true

require "json"
require "rserve/control/request"

module Rserve
  module Control
    # `rservectl restart --wait`: asks for a restart, and waits for its result.
    class RestartWait
      # Seconds between two questions.
      INTERVAL = 0.1
      # What happens while one control server takes the place of another.
      PASSING = [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ENOENT, ControlRequest::Failure].freeze
      private_constant :INTERVAL, :PASSING

      # @param patience [Numeric] seconds without an answer after which there is none
      # @yieldparam command [String]
      # @yieldreturn [String] the control server's answer
      def initialize(patience, &ask)
        @patience = patience
        @ask = ask
      end

      # @param command [String] `restart` or `phased-restart`
      # @return [Array(String, nil), Array(nil, String)] in one line that it was done, or why it was not
      def run(command)
        before = standing.fetch("asked")
        @ask.call(command)
        last = result_of { |asked| asked > before }
        return [nil, last["failure"]] if last["failure"]

        ["Generation #{last["generation"]} serves, after #{last["seconds"].round(1)} s", nil]
      end

      private

      # A restart that is asked for meanwhile may answer this one, too.
      #
      # @return [Hash]
      def result_of
        number = nil
        loop do
          now = patiently { standing }
          number ||= now["asked"] if yield(now["asked"])
          return now["last_restart"] if number && now["answered"] >= number

          sleep INTERVAL
        end
      end

      def standing
        JSON.parse(@ask.call("generations"))
      end

      def patiently
        deadline = monotonic + @patience
        begin
          yield
        rescue *PASSING
          raise if monotonic > deadline

          sleep INTERVAL
          retry
        end
      end

      def monotonic = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
