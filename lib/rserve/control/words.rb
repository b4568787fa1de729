# frozen_string_literal: true

module Rserve
  module Control
    # A server's figures in words, as `rservectl status` says them.
    module Words
      UNITS = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]].freeze
      private_constant :UNITS

      module_function

      # @param figures [Figures]
      # @param now [Time]
      # @return [Array<String>] lines
      def status(figures, now = Time.now)
        return ["#{mode(figures, now)}: #{load_of(figures.workers.first)}"] unless figures.cluster?

        ["#{mode(figures, now)}:", *figures.workers.map { |worker| "  #{worker_line(worker, now)}" }]
      end

      # @return [String] e.g. "cluster of 2 workers, 1 of them booted, phase 3, up 2 h 5 min"
      def mode(figures, now = Time.now)
        up = "up #{duration(now - figures.started_at)}"
        up = [up, accept_queue(figures)].compact.join(", ")
        return "single mode, #{up}" unless figures.cluster?

        count = figures.workers.size
        booted = ", #{figures.booted} of them booted" if figures.booted < count
        "cluster of #{counted(count, "worker")}#{booted}, phase #{figures.phase}, #{up}"
      end

      # @return [String, nil] nil when nobody waits there
      def accept_queue(figures)
        return unless figures.accept_queue&.positive?

        "#{counted(figures.accept_queue, "connection")} not accepted yet"
      end

      # @param seconds [Numeric]
      # @return [String] in the two greatest units, e.g. "2 h 5 min"
      def duration(seconds)
        rest = [seconds.to_i, 0].max
        parts = UNITS.filter_map do |unit, size|
          number, rest = rest.divmod(size)
          "#{number} #{unit}" if number.positive?
        end
        parts.empty? ? "0 s" : parts.first(2).join(" ")
      end

      # @return [String] e.g. "1 worker", "2 workers"
      def counted(number, noun)
        "#{number} #{noun}#{"s" if number != 1}"
      end

      def worker_line(worker, now)
        name = "worker #{worker.index}, pid #{worker.pid}, phase #{worker.phase}"
        return "#{name}: booting" unless worker.booted

        "#{name}: #{load_of(worker)}; reported #{duration(now - worker.checked_in)} ago"
      end
      private_class_method :worker_line

      def load_of(worker)
        return "no report yet" unless worker.threads

        "#{worker.busy} of #{counted(worker.threads, "thread")} busy, #{counted(worker.backlog, "request")} waiting, " \
          "#{worker.requests} served"
      end
      private_class_method :load_of
    end
  end
end
