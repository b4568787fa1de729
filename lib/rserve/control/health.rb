# frozen_string_literal: true

require "rserve/control/figures"
require "rserve/control/words"

module Rserve
  module Control
    # Does a server that answers serve, too?
    class Health
      # Seconds between two questions.
      INTERVAL = 0.5
      private_constant :INTERVAL

      # @yieldreturn [Figures] asked anew each time
      def initialize(&ask)
        @ask = ask
        @figures = ask.call
      end

      # @return [Array<String>]
      def lines
        Words.status(@figures)
      end

      # @return [Hash] all that is known, for programs
      def to_h
        { running: true, **@figures.to_h }
      end

      # @param seconds [Numeric, nil] for which requests may wait while all threads are busy; nil for ever
      # @return [String, nil] what is wrong
      def fault(seconds = nil)
        return @figures.cluster? ? "no worker is booted" : "it does not serve yet" if @figures.booted.zero?

        format("all threads busy and requests waiting for %g s", seconds) if seconds && saturated_for?(seconds)
      end

      private

      def saturated_for?(seconds)
        deadline = now + seconds
        while @figures.saturated?
          left = deadline - now
          return true unless left.positive?

          sleep [INTERVAL, left].min
          @figures = @ask.call
        end
        false
      end

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
