# frozen_string_literal: true

require "rserve/dsl/unknown_words"

module Rserve
  class DSL
    # The words of a `rserve do … end` block: what Puma does not have. One config file can serve both:
    #
    # @example
    #   rserve { compat 8 } if respond_to?(:rserve)
    class OwnWords
      include UnknownWords

      # @return [String, nil] the config file being evaluated
      attr_reader :path

      # @param dsl [DSL] the words around the block
      # @param options [Hash] the layer to write
      def initialize(dsl, options)
        @dsl = dsl
        @options = options
        @path = dsl.path
      end

      # As `puma_compat`.
      #
      # @param level [Integer] 6, 7 or 8
      def compat(level)
        @dsl.puma_compat(level)
      end

      # How long a client may leave a response unread before its connection is closed.
      #
      # The default is 10 seconds, as Puma has it without a word for it.
      #
      # @param seconds [Numeric]
      def write_timeout(seconds)
        @options[:write_timeout] = Float(seconds)
      end
    end
  end
end
