# frozen_string_literal: true

require "rserve/process/hook"
require "rserve/puma/const"
require "rserve/runtime"

module Rserve
  # Callbacks by event. The server fires `:state`; the launcher fires `:after_booted`, `:before_restart` and
  # `:after_stopped`.
  class Events
    def initialize
      @hooks = Hash.new { |hooks, hook| hooks[hook] = [] }
      @followers = []
    end

    # Calls `object` or the block each time `hook` is fired.
    #
    # @param hook [Symbol]
    # @param object [#call, nil] taken when there is no block
    # @return [#call] what was registered
    def register(hook, object = nil, &block)
      raise ArgumentError, "give an object or a block, not both" if object && block

      callback = block || object
      @hooks[hook] << callback
      callback
    end

    # From here on a callback that raises is a line there, and no error of whoever fires.
    #
    # @param log_writer [LogWriter]
    def report_to(log_writer)
      @log_writer = log_writer
      @followers.each { |events| events.report_to(log_writer) }
    end

    # Calls the callbacks of `hook` in the order of their registration.
    def fire(hook, *args)
      @hooks[hook].each do |callback|
        next callback.call(*args) unless @log_writer

        Hook.call(hook, @log_writer) { callback.call(*args) }
      end
      @followers.each { |events| events.fire(hook, *args) }
    end

    # Calls what is registered with `events` as well, whenever this fires.
    def follow(events)
      @followers << events unless events.equal?(self)
    end

    # Names of the life-cycle events: Puma 7's first, then Puma 6's for the same event.
    { after_booted: :on_booted, before_restart: :on_restart, after_stopped: :on_stopped }.each do |event, old_name|
      define_method(event) { |&block| register(event, &block) }
      define_method(old_name) do |&block|
        Rserve.deprecate_method_change(old_name, old_name, event)
        register(event, &block)
      end

      define_method(:"fire_#{event}!") { fire(event) }
      alias_method :"fire_#{old_name}!", :"fire_#{event}!"
    end
  end
end
