# frozen_string_literal: true

module Rserve
  class DSL
    # Words about the thread pool.
    module Threads
      # Bounds of the thread pool, per process.
      #
      # The default is 0, 5.
      #
      # @example
      #   threads 1, 5
      #   threads 5
      # @param min [Integer, String]
      # @param max [Integer, String] as `min` unless given
      # @raise [RuntimeError] when `min` is above `max`, or `max` below 1
      def threads(min, max = min)
        min = Integer(min)
        max = Integer(max)
        raise "The minimum (#{min}) number of threads must be less than or equal to the max (#{max})" if min > max
        raise "The maximum number of threads (#{max}) must be greater than 0" if max < 1

        [min, max].each { |number| Numbers.in_range(:threads, number, least: 0) }
        @options[:min_threads] = min
        @options[:max_threads] = max
      end

      # How many threads may run beyond the maximum for requests that called `env["puma.mark_as_io_bound"]`.
      #
      # The default is 0.
      def max_io_threads(max)
        max = Integer(max)
        raise "The number of IO threads (#{max}) must be greater than or equal to 0" if max.negative?

        @options[:max_io_threads] = Numbers.in_range(:max_io_threads, max, least: 0)
      end

      # Runs the block in each new thread of the pool.
      def before_thread_start(&block)
        hook(:before_thread_start, :before_thread_start, nil, block)
      end

      # Puma 6's name of {#before_thread_start}.
      def on_thread_start(&block)
        deprecate(:on_thread_start, :before_thread_start)
        hook(:on_thread_start, :before_thread_start, nil, block)
      end

      # Runs the block in each thread that leaves the pool.
      def before_thread_exit(&block)
        hook(:before_thread_exit, :before_thread_exit, nil, block)
      end

      # Puma 6's name of {#before_thread_exit}.
      def on_thread_exit(&block)
        deprecate(:on_thread_exit, :before_thread_exit)
        hook(:on_thread_exit, :before_thread_exit, nil, block)
      end

      # Runs the block after a response when no thread of the process is busy; nothing is accepted meanwhile. Meant
      # for garbage collection.
      def out_of_band(&block)
        hook(:out_of_band, :out_of_band, nil, block)
      end

      # Runs each request in a Fiber of its own, so that fiber-locals do not survive it.
      #
      # The default is false.
      def fiber_per_request(enabled = true)
        @options[:fiber_per_request] = enabled
        @options[:clean_thread_locals] = enabled
      end

      # Clears thread-locals between requests. From level 7 on another name of {#fiber_per_request}.
      #
      # The default is false.
      def clean_thread_locals(enabled = true)
        @options[:clean_thread_locals] = enabled
        @options[:fiber_per_request] = enabled if CompatLevel.renamed_options?(compat_level)
      end

      # Are requests read before a thread takes them? Without it connections are not kept alive, and no more are
      # accepted than there are threads.
      #
      # The default is true.
      def queue_requests(enabled = true)
        @options[:queue_requests] = enabled
      end

      # Makes the response when the application raises.
      #
      # @example
      #   lowlevel_error_handler { |error, env, status| [500, {}, ["sorry"]] }
      # @param object [#call, nil] takes error; error and env; or error, env and status
      def lowlevel_error_handler(object = nil, &block)
        object ||= block
        raise "Provide either a #call'able or a block" unless object

        @options[:lowlevel_error_handler] = object
      end
    end
  end
end
