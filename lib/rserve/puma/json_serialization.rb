# frozen_string_literal: true

module Rserve
  # JSON without the json gem, which a pruned master must not load: an application may want another version of it.
  module JSONSerialization
    # A value or key that JSON has no form for.
    class SerializationError < StandardError
    end

    ESCAPES = { "\\" => "\\\\", '"' => '\\"' }.freeze
    # What RFC 8259 §7 does not allow as it is.
    MUST_ESCAPE = /[\x00-\x1f"\\]/
    private_constant :ESCAPES, :MUST_ESCAPE

    class << self
      # @param value [Hash, Array, String, Integer, Float, true, false, nil] keys are String or Symbol
      # @return [String] without any white space
      # @raise [SerializationError]
      def generate(value)
        case value
        when Hash then "{#{value.map { |key, member| "#{generate_key(key)}:#{generate(member)}" }.join(",")}}"
        when Array then "[#{value.map { |element| generate(element) }.join(",")}]"
        when Integer, Float, true, false then value.to_s
        when String then quote(value)
        when nil then "null"
        else raise SerializationError, "Unexpected value of type #{value.class}"
        end
      end

      private

      def generate_key(key)
        case key
        when String, Symbol then quote(key.to_s)
        else raise SerializationError, "Could not serialize object of type #{key.class} as object key"
        end
      end

      def quote(string)
        escaped = string.gsub(MUST_ESCAPE) { |char| ESCAPES[char] || format("\\u%04X", char.ord) }
        %("#{escaped}")
      end
    end
  end
end
