# frozen_string_literal: true

module Rserve
  class Cluster
    # A worker as hooks and gems see it from the master.
    class WorkerHandle
      # @return [Integer] its position in the cluster, from 0
      attr_reader :index

      # @return [Integer, nil] nil while worker 0 has not forked it yet
      attr_reader :pid

      # @return [Integer] the phase it belongs to
      attr_reader :phase

      # @return [Process::Status, nil] how it ended; nil for one that runs
      attr_reader :process_status

      def initialize(index:, pid:, phase:, booted: false, process_status: nil)
        @index = index
        @pid = pid
        @phase = phase
        @booted = booted
        @process_status = process_status
      end

      def booted?
        @booted
      end

      # Ends the worker when it has finished its requests; another one takes its place.
      def term
        signal("TERM")
      end

      # Ends the worker now.
      def kill
        signal("KILL")
      end

      private

      def signal(name)
        Process.kill(name, pid) if pid
      rescue Errno::ESRCH
        nil
      end
    end

    # The workers of a cluster at the moment one asks. Gems look for it in the cluster's `@workers`.
    class WorkerList
      include Enumerable

      def initialize(cluster)
        @cluster = cluster
      end

      # @yieldparam worker [WorkerHandle]
      def each
        return to_enum unless block_given?

        @cluster.native_workers.each do |worker|
          yield WorkerHandle.new(**worker.slice(:index, :pid, :phase, :booted))
        end
      end

      # @return [Integer]
      def size
        @cluster.native_workers.size
      end
      alias length size

      def empty?
        size.zero?
      end
    end
  end
end
