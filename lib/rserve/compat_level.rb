# frozen_string_literal: true

require "rserve/config_error"

module Rserve
  # Puma 6, 7 and 8 contradict each other. The level says which one is followed, and this table holds what differs:
  # no other file compares version numbers.
  module CompatLevel
    DEFAULT = 6

    # Version and code name that `Const` reports at each level: gems compare them to choose between hook names.
    RELEASES = {
      6 => ["6.6.0", "Return to Forever"],
      7 => ["7.2.1", "On The Corner"],
      8 => ["8.0.2", "Into the Arena"]
    }.freeze

    module_function

    # The level asked for by `RSERVE_COMPAT`, else the default.
    #
    # @param env [Hash, ENV] one without the variable says nothing of it: the process' own decides then
    # @return [Integer] 6, 7 or 8
    # @raise [ArgumentError] when the variable holds anything else
    def from_env(env = ENV)
      value = (env["RSERVE_COMPAT"] || ENV.fetch("RSERVE_COMPAT", nil)).to_s.strip
      value.empty? ? DEFAULT : check(value)
    rescue ArgumentError => e
      raise e.exception("RSERVE_COMPAT: #{e.message}").extend(OperatorError)
    end

    # @param level [Integer, String]
    # @return [Integer] 6, 7 or 8
    # @raise [ArgumentError] naming the levels there are
    def check(level)
      number = Integer(level, exception: false)
      return number if RELEASES.key?(number)

      raise ArgumentError, "compat level must be one of #{RELEASES.keys.join(", ")}, not #{level.inspect}"
    end

    # Are the options of Puma 7 and later in force (header case, preload default, `clamp`)?
    def seven?(level)
      level >= 7
    end

    # Are Puma 8's ways in force (a refused request closes its connection, SIGPWR)?
    def eight?(level)
      level >= 8
    end

    # Option defaults in which the level differs from level 6.
    def defaults(level)
      return {} unless seven?(level)

      { fiber_per_request: false, max_keep_alive: 999, persistent_timeout: 65 }
        .merge(eight?(level) ? { max_io_threads: 0 } : {})
    end

    # Figures of a server's stats, in their order; a server with a TLS listener has some that no Puma has.
    #
    # @return [Array<Symbol>]
    def stat_names(level, tls: false)
      Native.stat_names(level, tls)
    end

    # Option keys of level 6 that later levels no longer have.
    def removed_defaults(level)
      seven?(level) ? %i[clean_thread_locals max_fast_inline] : []
    end
  end
end
