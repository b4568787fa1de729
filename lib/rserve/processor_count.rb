# frozen_string_literal: true

module Rserve
  # How many workers `workers :auto` and `WEB_CONCURRENCY=auto` mean.
  module ProcessorCount
    # @return [Integer] processors this process may use, as the concurrent-ruby gem counts them (cgroup quotas included)
    # @raise [LoadError] when that gem is missing or older than 1.3
    def self.detect
      require "concurrent/utility/processor_counter"
      raise LoadError, "concurrent-ruby is too old" unless Concurrent.respond_to?(:available_processor_count)

      Concurrent.available_processor_count.to_i
    rescue LoadError
      warn <<~TEXT
        WEB_CONCURRENCY=auto and `workers :auto` need the "concurrent-ruby" gem, version 1.3 or later.
        Please add "concurrent-ruby" to your Gemfile.
      TEXT
      raise
    end
  end
end
