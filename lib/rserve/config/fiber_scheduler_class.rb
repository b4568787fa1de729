# frozen_string_literal: true

require "rserve/config/config_error"

module Rserve
  # The class whose instance schedules the fibers that serve requests (`fiber_routes`, `fiber_scheduler`).
  class FiberSchedulerClass
    # Ruby before it loses wake-ups, and its threads do not tell when they let go of the GVL.
    OLDEST_RUBY = "3.3"
    # What Ruby calls of it, at least.
    METHODS = %i[block unblock kernel_sleep io_wait fiber].freeze
    # The gem where it is, if nothing has loaded it, and the oldest version of that which will do.
    LIBRARIES = { "Async::Scheduler" => %w[async 2] }.freeze
    private_constant :OLDEST_RUBY, :METHODS, :LIBRARIES

    # @param options [UserFileDefaultOptions]
    # @return [FiberSchedulerClass, nil] `nil` where threads serve every request
    def self.of(options)
      fibers = options[:fibers]
      return unless fibers

      new(fibers[:routes] ? "fiber_routes" : "fiber_scheduler", fibers.fetch(:scheduler),
          bundled: !options[:prune_bundler])
    end

    # @param word [String] that asked for it
    # @param name [String]
    # @param bundled [Boolean] this process has the application's bundle
    def initialize(word, name, bundled:)
      @word = word
      @name = name
      @bundled = bundled
      @library, @oldest = LIBRARIES[name]
    end

    # Looks, before anything is loaded or forked, whether there can be such a scheduler.
    #
    # @raise [ConfigError]
    def check
      unless Gem::Version.new(RUBY_VERSION) >= Gem::Version.new(OLDEST_RUBY)
        raise ConfigError, "#{@word} needs Ruby #{OLDEST_RUBY}, and this is #{RUBY_VERSION}: leave the word out, " \
                           "or run a later Ruby"
      end
      check_library if @library && @bundled && !Object.const_defined?(@name)
    end

    # @return [Class]
    # @raise [ConfigError] when there is none once the application is loaded
    def resolve
      require @library if @library && !Object.const_defined?(@name)
      scheduler = Object.const_get(@name)
      missing = METHODS.find { |name| !scheduler.method_defined?(name) }
      raise ConfigError, "#{@word} scheduler: #{@name} has no method #{missing}" if missing

      unless [0, -1].include?(scheduler.instance_method(:initialize).arity)
        raise ConfigError, "#{@word} scheduler: #{@name}.new needs arguments, and gets none"
      end

      scheduler
    rescue NameError, LoadError => e
      raise ConfigError, "#{@word} scheduler: there is no #{@name} (#{e.message.lines.first.chomp})"
    end

    private

    def check_library
      gem = Gem.loaded_specs[@library] || Gem::Specification.find_by_path(@library)
      if gem && gem.version < Gem::Version.new(@oldest)
        raise ConfigError, "#{@word} needs #{@library} #{@oldest}, and this is #{gem.version}: update the gem, " \
                           "or name a class with scheduler:"
      end
      return if gem || $LOAD_PATH.resolve_feature_path(@library)

      raise ConfigError, "#{@word} needs a scheduler for fibers: there is no gem #{@library} (add `gem " \
                         "#{@library.inspect}` to the Gemfile, or name a class with scheduler:)"
    end
  end
end
