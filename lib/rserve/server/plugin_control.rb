# frozen_string_literal: true

module Rserve
  # What the hooks of the pool's threads may see and change of their server (Puma 8).
  class ServerPluginControl
    # @param server [Server]
    def initialize(server)
      @server = server
    end

    # @return [Integer] threads that are kept without work
    def min_threads
      @server.min_threads
    end

    # @return [Integer] threads at most
    def max_threads
      @server.max_threads
    end

    # @see Server#update_thread_pool_min_max
    def update_thread_pool_min_max(min: min_threads, max: max_threads)
      @server.update_thread_pool_min_max(min:, max:)
    end
  end
end
