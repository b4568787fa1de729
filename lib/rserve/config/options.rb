# frozen_string_literal: true

module Rserve
  # Options in three layers: what the user asked for on the command line or in code, what the config files say, and the
  # defaults. A read takes the first layer that has the key; {#all_of} takes them all.
  class UserFileDefaultOptions
    # @return [Hash{Symbol => Object}] one layer, writable
    attr_reader :user_options, :file_options, :default_options

    def initialize(user_options, default_options)
      @user_options = user_options
      @file_options = {}
      @default_options = default_options
    end

    # @return [Object, nil] of the first layer that has the key
    def [](key)
      fetch(key)
    end

    # Writes the user layer.
    def []=(key, value)
      @user_options[key] = value
    end

    # @return [Object] from the first layer that has `key`, even when it holds nil there; else `default_value`
    def fetch(key, default_value = nil)
      layer = layers.find { |options| options.key?(key) }
      layer ? layer[key] : default_value
    end

    def key?(key)
      layers.any? { |options| options.key?(key) }
    end

    # @return [Array] what all layers hold for `key`, the user's first; a single value counts as a list of one
    def all_of(key)
      layers.flat_map { |options| list(options[key]) }.compact
    end

    # Replaces each default that is a Proc by its value: those depend on options that the files may set.
    def finalize_values
      @default_options.transform_values! { |value| value.is_a?(Proc) && value.arity.zero? ? value.call : value }
    end

    # @return [Hash] the three layers merged, the user's on top
    def final_options
      @default_options.merge(@file_options, @user_options)
    end

    private

    def layers
      [@user_options, @file_options, @default_options]
    end

    # A Hash or a callable that happens to answer `to_a` is still one value.
    def list(value)
      value.is_a?(Array) ? value : [value]
    end
  end
end
