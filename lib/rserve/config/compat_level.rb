# frozen_string_literal: true

require "rserve/config/config_error"

module Rserve
  # Puma 6 to 9 contradict each other. The level says which one is followed, and this file holds what differs,
  # each thing by its name: no other one compares levels (the core has `config/compat.rs`).
  module CompatLevel
    # Puma 6.
    DEFAULT = 6

    # Version and code name that `Const` reports at each level: gems compare them to choose between hook names.
    RELEASES = {
      6 => ["6.6.0", "Return to Forever"],
      7 => ["7.2.1", "On The Corner"],
      8 => ["8.0.2", "Into the Arena"],
      9 => ["9.0.0.dev", "Preview"]
    }.freeze

    module_function

    # The level asked for by `RSERVE_COMPAT`, else the default.
    #
    # @param env [Hash, ENV] one without the variable says nothing of it: the process' own decides then
    # @return [Integer] 6 to 9
    # @raise [ArgumentError] when the variable holds anything else
    def from_env(env = ENV)
      value = (env["RSERVE_COMPAT"] || ENV.fetch("RSERVE_COMPAT", nil)).to_s.strip
      value.empty? ? DEFAULT : check(value)
    rescue ArgumentError => e
      raise e.exception("RSERVE_COMPAT: #{e.message}").extend(OperatorError)
    end

    # @param level [Integer, String]
    # @return [Integer] 6 to 9
    # @raise [ArgumentError] naming the levels there are
    def check(level)
      number = Integer(level, exception: false)
      return number if RELEASES.key?(number)

      raise ArgumentError, "compat level must be one of #{RELEASES.keys.join(", ")}, not #{level.inspect}"
    end

    # The hook at a hot restart.
    #
    # @return [Symbol]
    def restart_hook(level)
      seven?(level) ? :before_restart : :on_restart
    end

    # What a hook is called in messages.
    #
    # @param word [Symbol] as written in the config file
    # @param option [Symbol] the option that holds the blocks
    # @return [Symbol]
    def hook_name(level, word, option)
      seven?(level) ? option : word
    end

    # Do old names, such as those of hooks with `on_`, warn?
    def deprecates?(level) = seven?(level)

    # Is a hook without a block refused, and a Hash in the options?
    def strict_hooks?(level) = seven?(level)

    # Is a number of workers refused that is none? Else it is 0.
    def strict_numbers?(level) = seven?(level)

    # Are `clean_thread_locals` and `max_fast_inline` other names of options of today?
    def renamed_options?(level) = seven?(level)

    # Must a configuration be loaded and clamped before it is read?
    def guarded_configuration?(level) = seven?(level)

    # Do environment variables set the options that came with Puma 7?
    def reads_new_variables?(level) = seven?(level)

    # Does the number of workers in the files, and not only in `WEB_CONCURRENCY`, decide whether to preload?
    def preloads_by_files?(level) = seven?(level)

    # Are hooks that never run told in Puma 7's words?
    def wordy_warnings?(level) = seven?(level)

    # Are the server's own fields in lower case?
    def lower_case_fields?(level) = seven?(level)

    # Does an environment always have `HTTP_VERSION`? Else only before Rack 3.1.
    def always_http_version?(level) = !seven?(level)

    # Are there figures of a pool before a server runs?
    def figures_before_run?(level) = !seven?(level)

    # Is `puma.mark_as_io_bound` in every environment?
    def marks_io_bound?(level) = eight?(level)

    # Is a method that the server does not support a malformed request?
    def unsupported_is_malformed?(level) = eight?(level)

    # Are binds without a host to any IPv6 address, where the machine has IPv6?
    def prefers_ipv6?(level) = eight?(level)

    # Is a request of HTTP/1.1 without a host refused?
    def requires_host?(level) = nine?(level)

    # Are old names, which {.deprecates?} warns of, gone, and is a configuration clamped once?
    def removes_deprecated?(level) = nine?(level)

    # Signals at which a server tells where its threads are; the first that the system has.
    #
    # @return [Array<String>]
    def backtrace_signals(level)
      eight?(level) ? %w[INFO PWR] : %w[INFO]
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
    def stat_names(level, tls: false, static: false, fibers: false)
      Native.stat_names(level, tls, static, fibers)
    end

    # Option keys of level 6 that later levels no longer have.
    def removed_defaults(level)
      seven?(level) ? %i[clean_thread_locals max_fast_inline] : []
    end

    def seven?(level) = level >= 7
    def eight?(level) = level >= 8
    def nine?(level) = level >= 9
    private_class_method :seven?, :eight?, :nine?
  end
end
