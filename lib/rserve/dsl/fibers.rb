# frozen_string_literal: true

module Rserve
  class DSL
    # The words of a `rserve do … end` block for requests that wait: docs/waiting.md.
    module Fibers
      # How many requests wait at a time in fibers, unless it is said.
      MAX_FIBERS = 256
      # Used where no other class is named; of the gem async.
      SCHEDULER = "Async::Scheduler"
      private_constant :MAX_FIBERS, :SCHEDULER

      # Serves requests for these paths in fibers, all of a process on one thread that has a scheduler: one that waits
      # for a database, another server or its client holds no thread. A path that ends with `*` stands for all that
      # begin so. Every other request has a thread, as before. Needs Ruby 3.3.
      #
      # @example
      #   fiber_routes "/stream/*", "/ai/*", max: 256
      # @param paths [Array<String>] as clients send them, without a query
      # @param max [Integer] requests served so at a time, in each process; others wait
      # @param scheduler [String] name of a class that has the interface of `Fiber::Scheduler`
      def fiber_routes(*paths, max: MAX_FIBERS, scheduler: SCHEDULER)
        all = [*@options.dig(:fibers, :routes), *routes(:fiber_routes, paths)]
        @options[:fibers] = { routes: all, max: fibers(:fiber_routes, max), scheduler: scheduler.to_s }
      end

      # Serves every request in a fiber, as {#fiber_routes} does with some.
      #
      # @param max [Integer] requests served at a time, in each process; others wait
      # @param scheduler [String] name of a class that has the interface of `Fiber::Scheduler`
      def fiber_scheduler(max: MAX_FIBERS, scheduler: SCHEDULER)
        @options[:fibers] = { routes: nil, max: fibers(:fiber_scheduler, max), scheduler: scheduler.to_s }
      end

      # Calls the application with requests for these paths when their heads are complete: `rack.input` is read from the
      # connection while the body comes, and nothing of it is stored. A path that ends with `*` stands for all that
      # begin so. By HTTP/1; requests of HTTP/2 come whole, as all others do.
      #
      # @example
      #   stream_uploads "/import/*"
      # @param paths [Array<String>] as clients send them, without a query
      def stream_uploads(*paths)
        @options[:stream_uploads] = [*@options[:stream_uploads], *routes(:stream_uploads, paths)]
      end

      private

      def routes(word, paths)
        wrong = paths.find { |path| !path.is_a?(String) || !path.start_with?("/") }
        raise ArgumentError, "#{word} takes paths that begin with a slash, not #{wrong.inspect}" if wrong
        raise ArgumentError, "#{word} takes at least one path" if paths.empty?

        paths
      end

      def fibers(word, max)
        raise ArgumentError, "#{word} max: must be at least 1, not #{max.inspect}" unless Integer(max).positive?

        Integer(max)
      end
    end
  end
end
