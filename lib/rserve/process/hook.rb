# frozen_string_literal: true

module Rserve
  # Blocks of the operator's, which the server calls at points of its life.
  module Hook
    module_function

    # Calls the block. Whatever it raises is a line in the log, and no reason not to go on; a hook that ends the process
    # has its way.
    #
    # @param name [Symbol]
    # @param log_writer [#log, #debug]
    def call(name, log_writer)
      yield
    rescue SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException
      log_writer.log("WARNING hook #{name} failed with exception (#{e.class}) #{e.message}")
      log_writer.debug(Array(e.backtrace).join("\n"))
    end
  end
end
