# frozen_string_literal: true

module Rserve
  class DSL
    # Which numbers a word takes: those that mean something, and that the core has room for.
    module Numbers
      # Beyond it every number of workers, threads, requests or seconds is a slip of the finger.
      MOST = (2**31) - 1

      module_function

      # @param name [String, Symbol] of the word or variable
      # @param number [Numeric]
      # @return [Numeric]
      # @raise [ArgumentError]
      def in_range(name, number, least:, most: MOST)
        return number if number.between?(least, most)

        raise ArgumentError, "#{name} must be from #{least} to #{most}, not #{number}"
      end
    end
  end
end
