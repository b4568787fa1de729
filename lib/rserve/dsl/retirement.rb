# frozen_string_literal: true

module Rserve
  class DSL
    # Words about when a cluster's workers are replaced that do nothing wrong. The replacement boots first; the worker
    # then finishes its requests and ends. One is replaced at a time.
    module Retirement
      UNITS = { "" => 1, "K" => 1 << 10, "M" => 1 << 20, "G" => 1 << 30, "T" => 1 << 40 }.freeze
      private_constant :UNITS

      # How much memory a worker may have, by its proportional set: what it shares with others counts by its share.
      #
      # The default is no limit. A limit below 1.2 times what a worker has when it has booted is told and not used.
      #
      # @example
      #   rserve { worker_max_memory "512M", hard: "768M" }
      # @param limit [String, Integer, nil] octets, or a number with K, M, G or T; nil for none
      # @param samples [Integer] so many looks in a row must find more
      # @param every [Numeric] seconds between two looks
      # @param hard [String, Integer, nil] a worker with more ends before its replacement boots
      def worker_max_memory(limit, samples: 3, every: 30, hard: nil)
        limit = octets_of("worker_max_memory", limit) if limit
        hard = octets_of("worker_max_memory hard:", hard) if hard
        samples = Integer(samples)
        every = seconds_of("worker_max_memory every:", every)
        raise ArgumentError, "worker_max_memory samples: must be at least 1, not #{samples}" unless samples.positive?
        raise ArgumentError, "worker_max_memory hard: must be more than the limit" if limit && hard && hard <= limit

        @options[:worker_max_memory] = limit ? { limit:, samples:, every:, hard: } : nil
      end

      # How many requests a worker serves before it is replaced.
      #
      # The default is no limit.
      #
      # @param count [Integer, nil] nil for no limit
      # @param jitter [Float] up to such a part of it is taken off, for each worker another
      def max_requests(count, jitter: 0.1)
        count &&= Integer(count)
        raise ArgumentError, "max_requests must be at least 1, not #{count}" unless count.nil? || count.positive?

        @options[:max_requests] = count ? [count, jitter_of("max_requests", jitter)] : nil
      end

      # How long a worker lives before it is replaced.
      #
      # The default is no limit.
      #
      # @example
      #   rserve { worker_lifetime 12 * 3600 }
      # @param seconds [Numeric, #to_f, #to_i, nil] `12.hours` of Active Support, too; nil for no limit
      # @param jitter [Float] up to such a part of it is taken off, for each worker another
      def worker_lifetime(seconds, jitter: 0.1)
        seconds &&= seconds_of("worker_lifetime", seconds)
        @options[:worker_lifetime] = seconds ? [seconds, jitter_of("worker_lifetime", jitter)] : nil
      end

      # After how many requests the worker that has served them is made the mold: it serves no more, and the others are
      # replaced, a tenth of them at a time, by processes that are forked from it and share its memory. The first number
      # is for the first time, and so on; the last one holds for all times that follow. Not with `fork_worker`.
      #
      # The default is never.
      #
      # @example
      #   rserve { refork_after [50, 100, 1000] }
      # @param counts [Array<Integer>, Integer, nil] nil for never
      def refork_after(*counts)
        counts = counts.flatten.compact.map { |count| Integer(count) }
        wrong = counts.find { |count| !count.positive? }
        raise ArgumentError, "refork_after must be numbers of requests above 0, not #{wrong}" if wrong

        counts.each { |count| Numbers.in_range(:refork_after, count, least: 1) }

        @options[:refork_after] = counts.empty? ? nil : counts
      end

      private

      def octets_of(word, size)
        number, unit = size.to_s.upcase.match(/\A\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*\z/)&.captures
        octets = (number.to_f * UNITS.fetch(unit)).to_i if number
        return octets if octets&.between?(1, (2**63) - 1)

        raise ArgumentError, "#{word} must be a size such as \"512M\", not #{size.inspect}"
      end

      def seconds_of(word, length)
        seconds = if length.is_a?(String) then Float(length, exception: false)
                  elsif length.respond_to?(:to_f) then length.to_f
                  elsif length.respond_to?(:to_i) then length.to_i.to_f
                  end
        return seconds if seconds&.between?(Float::MIN, Float::MAX)

        raise ArgumentError, "#{word} must be a number of seconds above 0, not #{length.inspect}"
      end

      def jitter_of(word, jitter)
        jitter = Float(jitter)
        raise ArgumentError, "#{word} jitter: must be from 0 to 1, not #{jitter}" unless jitter.between?(0, 1)

        jitter
      end
    end
  end
end
