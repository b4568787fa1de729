# frozen_string_literal: true

require "monitor"
require "rserve/config/config_error"
require "rserve/runtime"

module Rserve
  # Asked for a plugin that is nowhere on the load path.
  class UnknownPlugin < RuntimeError
    include OperatorError
  end

  # The plugins one launcher uses, in the order they were asked for.
  class PluginLoader
    # @return [Array<String>] what each was asked for by
    attr_reader :names

    def initialize
      @names = []
      @instances = []
    end

    # @return [Plugin] a new instance of the plugin called `name`
    # @raise [UnknownPlugin]
    def create(name)
      plugin = Plugins.find(name).new
      @names << name.to_s
      @instances << plugin
      plugin
    end

    # Starts every plugin that has a `start`.
    def fire_starts(launcher)
      @instances.each { |plugin| plugin.start(launcher) if plugin.respond_to?(:start) }
    end
  end

  # Every plugin class this process knows, by name.
  class PluginRegistry
    # Loads are on the main thread in practice, but a test server may boot in any.
    LOCK = Monitor.new
    private_constant :LOCK

    def initialize
      @plugins = {}
      @background = []
    end

    # @param name [String]
    # @param plugin_class [Class]
    def register(name, plugin_class)
      @plugins[name] = plugin_class
    end

    # The plugin class called `name`, loaded from `puma/plugin/NAME` or `rserve/plugin/NAME` if need be.
    #
    # @raise [UnknownPlugin]
    def find(name)
      name = name.to_s
      LOCK.synchronize { @plugins[name] || load_plugin(name) } ||
        raise(UnknownPlugin, "The plugin #{name} did not register itself when it was loaded")
    end

    # Runs `block` in a thread of its own once the server has booted.
    def add_background(block)
      @background << block
    end

    # Runs what plugins wait in, each in a thread of its own.
    def fire_background
      @background.each_with_index do |block, index|
        Rserve.new_thread do
          Rserve.set_thread_name "plgn bg #{index}"
          block.call
        end
      end
    end

    private

    def load_plugin(name)
      found = ["puma/plugin/#{name}", "rserve/plugin/#{name}"].any? { |feature| required?(feature) }
      raise UnknownPlugin, "Unable to find plugin: #{name}" unless found

      @plugins[name]
    end

    # @return [Boolean] false when there is no such file; what the file itself requires in vain still raises
    def required?(feature)
      require feature
      true
    rescue LoadError => e
      raise unless e.path == feature

      false
    end
  end

  # Those that are loaded.
  Plugins = PluginRegistry.new

  # Base of every plugin; `Plugin.create` makes the class.
  class Plugin
    # Matches the file a plugin is defined in, which names it.
    NAME_IN_PATH = %r{(?:puma|rserve)/plugin/([^/]*?)\.rb\z}

    # Defines the plugin of the calling file: `…/puma/plugin/NAME.rb` defines `NAME`.
    #
    # @example
    #   Puma::Plugin.create do
    #     def config(dsl); end          # reads and sets options, at the end of the config file
    #     def start(launcher); end      # runs before the server does
    #   end
    # @return [Class]
    # @raise [RuntimeError] when the calling file's path names no plugin
    def self.create(&)
      name = extract_name(caller_locations(1, 1))
      plugin = Class.new(self)
      plugin.class_eval(&)
      Plugins.register(name, plugin)
      plugin
    end

    # @param locations [Array<Thread::Backtrace::Location, String>] callers, nearest first
    # @return [String]
    def self.extract_name(locations)
      path = locations.first.respond_to?(:path) ? locations.first.path : locations.first[/\A(.*?):\d+/, 1]
      path.to_s[NAME_IN_PATH, 1] || raise("Unable to detect the plugin's name from its path #{path}")
    end

    # Runs the block in a thread of its own once the server has booted.
    def in_background(&block)
      Plugins.add_background(block)
    end

    # @return [Boolean] can this platform fork workers?
    def workers_supported?
      Rserve.forkable?
    end
  end
end
