# frozen_string_literal: true

require "json"
require "rserve/control/request"

module Rserve
  module Control
    # A running server's statistics, alike for a cluster and for single mode.
    class Figures
      # What a process that serves requests last said of itself. `index`, `phase` and `checked_in` are nil in single
      # mode; `busy`, `threads` (at most so many), `backlog` and `requests` are nil until it has said anything.
      Worker = Struct.new(:index, :pid, :phase, :booted, :checked_in, :busy, :threads, :backlog, :requests,
                          keyword_init: true)

      # @param json [String] what the control server answers to `stats`
      # @param pid [Integer, nil] of the server, which in single mode is not in its statistics
      # @raise [ControlRequest::Failure] when it is none
      def self.parse(json, pid: nil)
        new(Hash(JSON.parse(json)), pid:)
      rescue JSON::ParserError, TypeError, KeyError, ArgumentError
        raise ControlRequest::Failure, "Server sent no statistics"
      end

      # @return [Array<Worker>] the process itself in single mode
      attr_reader :workers

      # @return [Time]
      attr_reader :started_at

      # @return [Integer, nil] nil in single mode
      attr_reader :phase

      # @return [Integer, nil] connections that no process has accepted yet; nil where that is not known
      attr_reader :accept_queue

      def initialize(stats, pid: nil)
        @started_at = time(stats.fetch("started_at"))
        @phase = stats["phase"]
        @accept_queue = stats["accept_queue"]
        @cluster = stats.key?("worker_status")
        @workers = @cluster ? stats["worker_status"].map { |status| worker(status) } : [single(stats, pid)]
      end

      # @return [Hash] for programs; times are seconds
      def to_h(now = Time.now)
        workers = @workers.map do |worker|
          { **worker.to_h.except(:checked_in), reported: worker.checked_in && (now - worker.checked_in).round(3) }
        end
        { mode: cluster? ? "cluster" : "single", phase:, uptime: (now - started_at).round(3), accept_queue:, workers: }
      end

      def cluster?
        @cluster
      end

      # @param name [Symbol] `:busy`, `:threads`, `:backlog` or `:requests`
      # @return [Integer] of all workers together
      def total(name)
        workers.sum { |worker| worker[name] || 0 }
      end

      # @return [Integer] workers that take requests
      def booted
        workers.count(&:booted)
      end

      # Have all threads requests, while others wait?
      def saturated?
        serving = workers.select { |worker| worker.booted && worker.threads }
        serving.any? && serving.all? { |worker| worker.busy >= worker.threads && worker.backlog.positive? }
      end

      private

      def worker(status)
        Worker.new(**status.slice("index", "pid", "phase", "booted").transform_keys(&:to_sym),
                   checked_in: time(status.fetch("last_checkin")), **load_of(status.fetch("last_status")))
      end

      def single(stats, pid)
        Worker.new(pid:, booted: stats.key?("running"), **load_of(stats))
      end

      # Without Ruby's `time`, which loads more than all of the client.
      def time(text)
        parts = text.match(/\A(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z\z/) or raise ArgumentError, "no time: #{text}"
        Time.utc(*parts.captures)
      end

      # Puma below 6.5 does not say how many threads are busy.
      def load_of(status)
        max, capacity = status.values_at("max_threads", "pool_capacity")
        busy = status.fetch("busy_threads") { max - capacity if max && capacity }
        { busy:, threads: max, backlog: status["backlog"], requests: status["requests_count"] }
      end
    end
  end
end
