# frozen_string_literal: true

require "uri/common"

module Rserve
  # Small functions that Puma keeps here and plugins call.
  module Util
    module_function

    # @return [Array(IO, IO)] reading and writing end, closed on exec
    def pipe
      IO.pipe
    end

    # `application/x-www-form-urlencoded` form of `string`.
    def escape(string, encoding = Encoding::UTF_8)
      URI.encode_www_form_component(string, encoding)
    end

    # Inverse of {escape}.
    def unescape(string, encoding = Encoding::UTF_8)
      URI.decode_www_form_component(string, encoding)
    end

    # The parameters of a query string. A name without a value is nil; a name given twice has an Array.
    #
    # @param query [String, nil]
    # @param separators [String, nil] characters that part the pairs, `&` and `;` unless given
    # @return [Hash{String => String, nil, Array}]
    def parse_query(query, separators = nil, &unescaper)
      unescaper ||= method(:unescape)
      parts = query.to_s.split(separators ? /[#{separators}] */n : /[&;] */n)
      parts.reject(&:empty?).each_with_object({}) do |part, params|
        name, value = part.split("=", 2).map { |side| unescaper.call(side) }
        params[name] = params.key?(name) ? [*params[name], value] : value
      end
    end

    # Runs the collector before a fork so that more pages stay shared.
    def nakayoshi_gc(log_writer)
      log_writer.log("! Promoting existing objects to old generation...")
      4.times { GC.start(full_mark: false) }
      return unless GC.respond_to?(:compact)

      log_writer.log("! Compacting...")
      GC.compact
    end
  end
end
