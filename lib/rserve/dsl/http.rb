# frozen_string_literal: true

module Rserve
  class DSL
    # Words about connections and requests, and about what happens to them at the end.
    module Http
      # Seconds until the first octet of a request must have come.
      #
      # The default is 30.
      def first_data_timeout(seconds)
        @options[:first_data_timeout] = Integer(seconds)
      end

      # Seconds a kept-alive connection may sit idle before it is closed.
      #
      # The default is 20; 65 from level 7 on.
      def persistent_timeout(seconds)
        @options[:persistent_timeout] = Integer(seconds)
      end

      # Requests a connection may carry before it is closed.
      #
      # The default is 999 from level 7 on; below, there is no limit.
      #
      # @param requests [Numeric, String, nil] `Float::INFINITY` for no limit; nil changes nothing
      def max_keep_alive(requests)
        return if requests.nil?

        requests = Float(requests)
        Numbers.in_range(:max_keep_alive, requests, least: 0) unless requests == Float::INFINITY
        @options[:max_keep_alive] = requests
      end

      # Requests of one connection served one after the other while others wait.
      #
      # The default is 10 at level 6. From level 7 on another name of {#max_keep_alive}, which goes first.
      def max_fast_inline(requests)
        return @options[:max_fast_inline] = Float(requests) unless CompatLevel.renamed_options?(compat_level)

        max_keep_alive(requests) unless @options[:max_keep_alive]
      end

      # Are connections kept open after a response?
      #
      # The default is true.
      def enable_keep_alives(enabled = true)
        @options[:enable_keep_alives] = enabled
      end

      # Largest request body, in octets; a larger one gets 413.
      #
      # The default is no limit.
      #
      # @param octets [Integer, String, nil] nil or `Float::INFINITY` for no limit
      def http_content_length_limit(octets)
        octets = octets.nil? || octets == Float::INFINITY ? nil : Integer(octets)
        Numbers.in_range(:http_content_length_limit, octets, least: 0, most: (2**63) - 1) if octets
        @options[:http_content_length_limit] = octets
      end

      # Methods that are let through; others get 501.
      #
      # The default is Const::SUPPORTED_HTTP_METHODS.
      #
      # @example
      #   supported_http_methods Rserve::Const::SUPPORTED_HTTP_METHODS + %w[PROPFIND]
      #   supported_http_methods :any
      # @param methods [Array<String>, :any]
      # @raise [RuntimeError] unless the Array holds different Strings
      def supported_http_methods(methods)
        unless methods == :any
          valid = methods.is_a?(Array) && methods.any? && methods.all?(String) && methods.uniq.size == methods.size
          raise "supported_http_methods must be ':any' or a unique array of strings" unless valid
        end
        @options[:supported_http_methods] = methods
      end

      # Lets header names with an underscore into the env.
      #
      # The default is true.
      def allow_underscore_headers(enabled = true)
        @options[:allow_underscore_headers] = enabled
      end

      # Sends `103 Early Hints` for what the application gives to `env["rack.early_hints"]`.
      #
      # The default is false.
      def early_hints(enabled = true)
        @options[:early_hints] = enabled
      end

      # Seconds without a request after which the server stops.
      #
      # The default is never.
      def idle_timeout(seconds)
        @options[:idle_timeout] = Numbers.in_range(:idle_timeout, Integer(seconds), least: 1)
      end

      # How long running requests may take when the server stops: `:forever`, `:immediately`, or seconds.
      #
      # The default is `:forever`.
      def force_shutdown_after(value = :forever)
        @options[:force_shutdown_after] =
          case value
          when :forever then -1
          when :immediately then 0
          else Float(value)
          end
      end

      # Answers what waits in the listeners' backlog before stopping.
      #
      # The default is false.
      def drain_on_shutdown(enabled = true)
        @options[:drain_on_shutdown] = enabled
      end

      # Prints every thread's backtrace when the server stops.
      #
      # The default is false.
      #
      # @param on_force [Boolean] only if threads had to be ended by force
      def shutdown_debug(enabled = true, on_force: false)
        @options[:shutdown_debug] = on_force && enabled ? :on_force : enabled
      end
    end
  end
end
