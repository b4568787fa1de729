# frozen_string_literal: true

module Rserve
  class DSL
    # Words about worker processes.
    module Cluster
      # How many worker processes to run; 0 serves from the process that was started.
      #
      # The default is the value of `WEB_CONCURRENCY`, else 0. Up to level 6 what is no number is 0, too.
      #
      # @param count [Integer, String, :auto, nil] `:auto` for one per processor
      def workers(count)
        @options[:workers] =
          case count
          when :auto, "auto" then ProcessorCount.detect
          when nil then 0
          else Numbers.in_range(:workers, whole(count), least: -Numbers::MOST)
          end
      end

      # Loads the application before the workers are forked, so that they share its memory. Rules out phased restarts.
      #
      # The default is true when `WEB_CONCURRENCY` is above 1; from level 7 on, whenever there are several workers.
      def preload_app!(answer = true)
        @options[:preload_app] = answer
      end

      # Keeps the application's gems out of the master, so that a phased restart can change them.
      #
      # The default is false; of no use together with `preload_app!`.
      def prune_bundler(answer = true)
        @options[:prune_bundler] = answer
      end

      # Gems the master keeps on its load path when it is pruned.
      #
      # @param gems [Array<String>]
      def extra_runtime_dependencies(gems = [])
        @options[:extra_runtime_dependencies] = Array(gems)
      end

      # Forks workers 1 and up from worker 0 instead of from the master, and again after so many of its requests.
      #
      # The default is off.
      #
      # @param after_requests [Integer] 0 for never
      def fork_worker(after_requests = 1000)
        @options[:fork_worker] = Numbers.in_range(:fork_worker, Integer(after_requests), least: 0)
      end

      # Seconds a booted worker may go without reporting before it is killed.
      #
      # The default is 60.
      #
      # @raise [RuntimeError] unless above the reporting interval
      def worker_timeout(seconds)
        seconds = Integer(seconds)
        interval = @options.fetch(:worker_check_interval) { @config._options[:worker_check_interval] }
        if seconds <= interval
          raise "The minimum worker_timeout must be greater than the worker reporting interval (#{interval})"
        end

        @options[:worker_timeout] = seconds
      end

      # Seconds a worker may take to boot.
      #
      # The default is 60.
      def worker_boot_timeout(seconds)
        @options[:worker_boot_timeout] = Integer(seconds)
      end

      # Seconds a worker may take to finish its requests after TERM, before it is killed.
      #
      # The default is 30.
      def worker_shutdown_timeout(seconds)
        @options[:worker_shutdown_timeout] = Integer(seconds)
      end

      # Seconds between a worker's reports to the master; fractions are allowed.
      #
      # The default is 5.
      #
      # @raise [RuntimeError] unless above zero
      def worker_check_interval(seconds)
        seconds = Float(seconds)
        raise "worker_check_interval must be more than 0 seconds, not #{seconds}" unless seconds.positive?

        @options[:worker_check_interval] = Numbers.in_range(:worker_check_interval, seconds, least: 0)
      end

      # Which worker goes first when there are too many.
      #
      # The default is `:youngest`.
      #
      # @param strategy [:youngest, :oldest]
      # @raise [RuntimeError] for anything else
      def worker_culling_strategy(strategy)
        strategy = strategy.to_sym
        raise "Invalid value for worker_culling_strategy - #{strategy}" unless %i[youngest oldest].include?(strategy)

        @options[:worker_culling_strategy] = strategy
      end

      # Seconds a busy worker leaves a new connection to a less busy one. Workers are balanced in another way here, so
      # only 0, which turns that off, has an effect.
      #
      # The default is 0.005.
      def wait_for_less_busy_worker(seconds = 0.005)
        @options[:wait_for_less_busy_worker] = seconds.to_f
      end

      private

      def whole(count)
        CompatLevel.strict_numbers?(compat_level) ? Integer(count) : count.to_i
      rescue ArgumentError, TypeError, NoMethodError
        raise ArgumentError, "workers must be an Integer or :auto, not #{count.inspect}"
      end
    end
  end
end
