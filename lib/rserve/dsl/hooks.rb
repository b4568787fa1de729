# frozen_string_literal: true

module Rserve
  class DSL
    # Words that run a block at a point of the server's life. Each may be used many times; the blocks run in the order
    # of their definition. Puma 6's names (`on_…`) and Puma 7's (`before_…`) are both words at every level.
    module Hooks
      # In the master, once, before the first worker is forked.
      def before_fork(&block)
        cluster_hook(:before_fork, :before_fork, nil, block)
      end

      # Words that take a key, by the option they are kept in. With a key the block gets a Hash as its second
      # argument: one per worker and key.
      {
        before_worker_boot: %i[on_worker_boot before_worker_boot],
        before_worker_shutdown: %i[on_worker_shutdown before_worker_shutdown],
        before_refork: %i[on_refork before_refork],
        after_refork: %i[after_refork]
      }.each do |option, words|
        words.each do |word|
          define_method(word) { |key = nil, &block| cluster_hook(word, option, key, block) }
        end
      end

      # Words that run in the master, with the worker's index.
      {
        before_worker_fork: %i[on_worker_fork before_worker_fork],
        after_worker_fork: %i[after_worker_fork after_worker_boot],
        after_worker_shutdown: %i[after_worker_shutdown]
      }.each do |option, words|
        words.each do |word|
          define_method(word) { |&block| cluster_hook(word, option, nil, block) }
        end
      end

      # Before the server replaces itself, with the launcher.
      #
      # @example
      #   on_restart { |launcher| }
      def on_restart(&block)
        deprecate(:on_restart, :before_restart)
        hook(:on_restart, CompatLevel.restart_hook(compat_level), nil, block)
      end

      # Puma 7's name of {#on_restart}.
      def before_restart(&block)
        hook(:before_restart, CompatLevel.restart_hook(compat_level), nil, block)
      end

      # Once everything has booted: all the workers, in a cluster.
      def after_booted(&block)
        event_hook(:after_booted, block)
      end

      # Puma 6's name of {#after_booted}.
      def on_booted(&)
        deprecate(:on_booted, :after_booted)
        after_booted(&)
      end

      # Once everything has stopped.
      def after_stopped(&block)
        event_hook(:after_stopped, block)
      end

      # Puma 6's name of {#after_stopped}.
      def on_stopped(&)
        deprecate(:on_stopped, :after_stopped)
        after_stopped(&)
      end

      # Runs the block after the config files, and only without worker processes.
      def single(&block)
        mode_block(:single, block)
      end

      # Runs the block after the config files, and only with worker processes.
      #
      # @example
      #   cluster { worker_timeout 30 }
      def cluster(&block)
        mode_block(:cluster, block)
      end

      private

      def mode_block(mode, block)
        raise ArgumentError, "A block must be provided to `#{mode}`" unless block

        @config.mode_blocks[mode] << block
      end

      def event_hook(event, block)
        @config.event_counts[event] += 1
        @config.events.register(event, &block)
      end

      # From level 7 on the names with `on_` are the old ones.
      def deprecate(word, option)
        Rserve.deprecate_method_change(word, word, option, compat_level)
      end

      def cluster_hook(word, option, key, block)
        deprecate(word, option) if word.start_with?("on_")
        @config.note_cluster_hook(word, option)
        hook(word, option, key, block, cluster_only: true)
      end

      # @param word [Symbol] as written in the config file: its name in messages, up to level 6
      # @param option [Symbol] the option that holds the blocks: its name in messages, from level 7 on
      def hook(word, option, key, block, cluster_only: false)
        name = CompatLevel.hook_name(compat_level, word, option)
        raise "'#{name}' key must be String or Symbol" unless key.nil? || key.is_a?(String) || key.is_a?(Symbol)

        strict = CompatLevel.strict_hooks?(compat_level)
        raise ArgumentError, "expected #{name} to be given a block" if block.nil? && strict

        hook = { block:, cluster_only:, id: key&.to_sym }
        hook = key ? hook.values_at(:block, :id) : block unless strict
        (@options[option] ||= []) << hook
      end
    end
  end
end
