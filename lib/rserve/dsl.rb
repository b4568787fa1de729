# frozen_string_literal: true

require "rserve/config/compat_level"
require "rserve/puma/const"
require "rserve/config/processor_count"

module Rserve
  class DSL
    # It is there before its parts: nothing needs to load it for them.
  end
end

require "rserve/dsl/numbers"
require "rserve/dsl/application"
require "rserve/dsl/listeners"
require "rserve/dsl/threads"
require "rserve/dsl/http"
require "rserve/dsl/logging"
require "rserve/dsl/cluster"
require "rserve/dsl/hooks"
require "rserve/dsl/own_words"
require "rserve/dsl/unknown_words"

module Rserve
  # The words of `config/puma.rb`. The file is evaluated inside an instance, so every public method here is a word; the
  # words are in {Application}, {Listeners}, {Threads}, {Http}, {Logging}, {Cluster} and {Hooks}.
  #
  # Plugins reopen this class to add words, and write `@options` directly.
  #
  # @example config/puma.rb
  #   workers 2
  #   threads 1, 5
  #   port ENV.fetch("PORT", 3000)
  class DSL
    include UnknownWords
    include Application
    include Listeners
    include Threads
    include Http
    include Logging
    include Cluster
    include Hooks

    # @return [String, nil] the config file being evaluated
    attr_reader :path

    # The `ssl://` URL for `host`, `port` and TLS options, as {Listeners#ssl_bind} makes it.
    def self.ssl_bind_str(host, port, options)
      Listeners.ssl_url(host, port, options)
    end

    # @param options [Hash] the layer to write
    # @param config [Configuration]
    def initialize(options, config)
      @config = config
      @options = options
      @plugins = []
    end

    # Evaluates the file at `path`.
    #
    # @api private
    def _load_from(path)
      @path = path
      instance_eval(File.read(path), path, 1)
    ensure
      _offer_plugins
    end

    # Lets the plugins that were asked for add their options, after the file's own.
    #
    # @api private
    def _offer_plugins
      plugins = @plugins
      @plugins = []
      plugins.each do |plugin|
        next unless plugin.respond_to?(:config)

        plugin.config(self)
      end
    end

    # Reads an option: from this layer, else from the layers below.
    #
    # @example
    #   workers 2 if get(:environment) == "production"
    def get(key, default = nil)
      @options.fetch(key.to_sym) { @config._options.fetch(key.to_sym, default) }
    end

    # Evaluates the block here, for words kept in a Proc.
    def inject(&)
      instance_eval(&)
    end

    # Queues another config file, evaluated after this one.
    #
    # @example
    #   load "config/puma/common.rb"
    def load(file)
      (@options[:config_files] ||= []) << file
    end

    # Loads and uses a plugin: `puma/plugin/NAME` on the load path.
    #
    # @example
    #   plugin :tmp_restart
    # @raise [UnknownPlugin]
    def plugin(name)
      @plugins << @config.load_plugin(name)
    end

    # Follows another Puma's behaviour where versions differ.
    #
    # The default is 6, or what `RSERVE_COMPAT` says.
    #
    # @example
    #   puma_compat 8
    # @param level [Integer] 6 to 9
    def puma_compat(level)
      @config.compat_level = level
      Const.follow(@config.compat_level)
    end

    # Words that Puma does not have, in a block of their own: see {OwnWords}. `respond_to?(:rserve)` tells whether they
    # are known, so that the same file still serves Puma.
    #
    # @example
    #   rserve { write_timeout 30 } if respond_to?(:rserve)
    def rserve(&)
      OwnWords.new(self, @options).instance_eval(&)
    end

    private

    # Level whose behaviour is in force as this word is evaluated.
    def compat_level
      @config.compat_level
    end
  end
end
