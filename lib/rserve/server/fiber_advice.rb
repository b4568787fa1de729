# frozen_string_literal: true

module Rserve
  # What a Rails application that is loaded should know before fibers serve its requests (docs/waiting.md).
  module FiberAdvice
    class << self
      # @param word [String] that has fibers serve
      # @param max [Integer] fibers at most
      # @return [Array<String>] lines for the log
      def lines(word, max)
        return [] unless defined?(::Rails::VERSION::STRING)

        [isolation(word), connections(word, max)].compact
      end

      private

      def isolation(word)
        if !defined?(::ActiveSupport::IsolatedExecutionState)
          "#{word}: Rails #{::Rails::VERSION::STRING} mixes up the state of requests whose fibers share a thread; " \
            "run Rails 7.1 or later"
        elsif ::ActiveSupport::IsolatedExecutionState.isolation_level != :fiber
          "#{word}: requests whose fibers share a thread share Rails' state, database connections included; " \
            "set config.active_support.isolation_level = :fiber"
        end
      end

      # Active Record is asked only if the application has loaded it.
      def connections(word, max)
        return if !defined?(::ActiveRecord) || ::ActiveRecord.autoload?(:Base)

        pool = limit(::ActiveRecord::Base.connection_db_config)
        return if pool.nil? || pool >= max

        "#{word}: #{max} fibers may want a database connection at a time, and the pool has #{pool}; " \
          "set max: #{pool}, or pool: in config/database.yml to #{max}"
      rescue StandardError
        nil # there is no database
      end

      # @return [Integer, nil] `nil` for none
      def limit(config)
        config.respond_to?(:max_connections) ? config.max_connections : config.pool
      end
    end
  end
end
