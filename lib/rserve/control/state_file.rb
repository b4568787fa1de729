# frozen_string_literal: true

require "rserve/process/own_file"

module Rserve
  # The file by which a control client finds a running server: flat YAML, written and read without psych, so that a
  # pruned master stays free of it.
  class StateFile
    # Nothing else is written or believed.
    ALLOWED_FIELDS = %w[control_url control_auth_token pid running_from].freeze

    def initialize
      @options = {}
    end

    # @param path [String]
    # @param permission [Integer, nil] the file's mode; unless given 0600 with a token in it, else the umask's choice
    def save(path, permission = nil)
      lines = ["---\n"]
      @options.each do |key, value|
        next if value.to_s.strip.empty?

        lines << "#{key}: #{format_value(key, value)}\n"
      end
      OwnFile.write(path, lines.join, permission || (0o600 if secret?))
    end

    # Replaces the fields by those of the file at `path`; unknown keys are left out.
    #
    # @raise [SystemCallError] when the file cannot be read
    def load(path)
      @options = File.readlines(path, encoding: Encoding::UTF_8).filter_map { |line| parse_line(line.scrub) }.to_h
    end

    ALLOWED_FIELDS.each do |field|
      define_method(field) { @options[field] }
      define_method(:"#{field}=") { |value| @options[field] = value }
    end

    private

    def secret?
      !["", "none"].include?(control_auth_token.to_s)
    end

    def format_value(key, value)
      key == "running_from" || value.to_s.include?(" ") ? %("#{value}") : value
    end

    def parse_line(line)
      key, value = line.split(/:\s*/, 2)
      return unless ALLOWED_FIELDS.include?(key)

      value = value.to_s.strip
      value = value[1..-2] if value.match?(/\A(["']).*\1\z/)
      [key, convert(value)]
    end

    def convert(value)
      case value
      when "" then nil
      when /\A\d+\z/ then value.to_i
      when /\A\d+\.\d+\z/ then value.to_f
      else value
      end
    end
  end
end
