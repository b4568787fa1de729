# frozen_string_literal: true

require "monitor"

# What an application may say about forks of its processes.
module Rserve
  # What must not be in the middle of anything when a worker forks another one (`refork_after`, `fork_worker`).
  module ForkGuard
    @lock = Monitor.new

    class << self
      # Runs the block when no other one runs, and none meanwhile.
      def hold(&)
        @lock.synchronize(&)
      end

      # In a child, where the threads are gone that could let go of it.
      def renew
        @lock = Monitor.new
      end
    end
  end

  private_constant :ForkGuard

  # No worker is forked from this process while the block runs. For threads of the application's own that may hold a
  # lock of a native library, or have something half written: requests need not ask for this, since a process that forks
  # has answered them all.
  #
  # A fork waits for the block; one that waits for too long (`worker_shutdown_timeout` and `worker_boot_timeout`
  # together) costs the process its life.
  def self.prevent_fork(&)
    ForkGuard.hold(&)
  end
end
