# frozen_string_literal: true

require "rserve/config/config_error"

module Rserve
  # Looks, before anything else, whether the process can become a server where it is, with what it may have.
  module StartCheck
    # Descriptors without which no process of a server gets far: a cluster's worker has 23 before it serves anybody.
    LEAST_DESCRIPTORS = 32
    private_constant :LEAST_DESCRIPTORS

    module_function

    # @raise [ConfigError]
    def run
      look_at_folder
      look_at_descriptors
    end

    def look_at_folder
      Dir.getwd
    rescue Errno::ENOENT
      raise ConfigError, "the folder in which this is started is gone: cd #{ENV.fetch("PWD", "")}, or to another one"
    end

    def look_at_descriptors
      limit, = Process.getrlimit(:NOFILE)
      return if limit >= LEAST_DESCRIPTORS

      raise ConfigError, "#{limit} descriptors are too few to serve (ulimit -n, LimitNOFILE=): " \
                         "one for each client, and #{LEAST_DESCRIPTORS} at least"
    end
    private_class_method :look_at_folder, :look_at_descriptors
  end
end
