# frozen_string_literal: true

require "socket"
require "rserve/runtime"
require "rserve/puma/const"
require "rserve/config/compat_level"
require "rserve/config/config_error"
require "rserve/process/events"
require "rserve/process/hook"
require "rserve/log/log_writer"
require "rserve/config/options"
require "rserve/plugin"
require "rserve/config/processor_count"
require "rserve/dsl"

module Rserve
  # A server's configuration: its options in three layers, the files they come from, and the application they name.
  #
  # @example
  #   conf = Rserve::Configuration.new do |user, file, default|
  #     user.bind "tcp://127.0.0.1:9292"
  #     default.threads 1, 5
  #   end
  #   conf.load
  #   conf.options[:max_threads]  # => 5
  class Configuration
    # {#config_files} was asked for before {#load}, at level 7 or 8.
    class NotLoadedError < StandardError; end

    # {#options} were asked for before {#clamp}, at level 7 or 8.
    class NotClampedError < StandardError; end

    # Read where the command line names none, unless there is one for the environment.
    DEFAULT_CONFIG_FILE = "config/puma.rb"
    ANY_IPV6 = %r{\A((?:tcp|ssl)://)(?:\[::\]|::)(?=:\d)}
    IPV6 = %r{\A(?:tcp|ssl)://[^/?]*:[^/?]*:}
    private_constant :ANY_IPV6, :IPV6

    class << self
      # Option defaults at `level`; environment variables come on top of them.
      #
      # @return [Hash{Symbol => Object}]
      def defaults(level)
        BASE_DEFAULTS.merge(level_defaults(level)).except(*CompatLevel.removed_defaults(level))
      end

      # Those of {defaults} that hang on the level.
      def level_defaults(level)
        host = default_tcp_host(level)
        url = DSL::Listeners.tcp_url(host, BASE_DEFAULTS[:tcp_port])
        CompatLevel.defaults(level).merge(tcp_host: host, binds: [url])
      end

      # The host of a bind that names none: any, which at level 8 includes IPv6 where the machine has it.
      def default_tcp_host(level = CompatLevel.from_env)
        CompatLevel.prefers_ipv6?(level) && ipv6_interface_available? ? "::" : BASE_DEFAULTS[:tcp_host]
      end

      # @return [String] URL of {default_tcp_host} with `port`
      def default_tcp_bind(port = BASE_DEFAULTS[:tcp_port])
        DSL::Listeners.tcp_url(default_tcp_host, Integer(port))
      end

      # Has this machine an IPv6 address other than the loopback?
      def ipv6_interface_available?
        Socket.getifaddrs.any? { |interface| interface.addr&.ipv6? && !interface.addr.ipv6_loopback? }
      rescue SystemCallError
        false
      end

      # @return [String] the name of the folder that the process is in; empty where that is gone
      def folder_name
        File.basename(Dir.getwd)
      rescue Errno::ENOENT
        ""
      end

      # A path below the system's folder for temporary files that no other server uses.
      def temp_path
        require "tmpdir"
        milliseconds = (Time.now.to_f * 1000).to_i
        "#{Dir.tmpdir}/puma-status-#{milliseconds}-#{Process.pid}"
      end

      # @return [String] 32 hexadecimal digits
      def random_token
        require "securerandom"
        SecureRandom.hex(16)
      end
    end

    # Tells the application, by `env["puma.config"]`, what it runs under.
    class ConfigMiddleware
      def initialize(config, app)
        @config = config
        @app = app
      end

      # (see Rack::Builder#call)
      def call(env)
        env[Const::PUMA_CONFIG] = @config
        @app.call(env)
      end
    end

    # What every level has.
    BASE_DEFAULTS = {
      allow_underscore_headers: true,
      auto_trim_time: 30,
      binds: ["tcp://0.0.0.0:9292"].freeze,
      clean_thread_locals: false,
      debug: false,
      early_hints: nil,
      enable_keep_alives: true,
      environment: "development",
      first_data_timeout: 30,
      force_shutdown_after: -1,
      http_content_length_limit: nil,
      idle_timeout: nil,
      io_selector_backend: :auto,
      log_requests: false,
      logger: $stdout,
      max_fast_inline: 10,
      max_threads: Rserve.mri? ? 5 : 16,
      min_threads: 0,
      mode: :http,
      mutate_stdout_and_stderr_to_sync_on_write: true,
      out_of_band: [].freeze,
      persistent_timeout: 20,
      prune_bundler: false,
      queue_requests: true,
      rackup: "config.ru",
      raise_exception_on_sigterm: true,
      reaping_time: 1,
      remote_address: :socket,
      silence_fork_callback_warning: false,
      silence_single_worker_warning: false,
      tag: folder_name,
      tcp_host: "0.0.0.0",
      tcp_port: 9292,
      wait_for_less_busy_worker: 0.005,
      worker_boot_timeout: 60,
      worker_check_interval: 5,
      worker_culling_strategy: :youngest,
      worker_shutdown_timeout: 30,
      worker_timeout: 60,
      workers: 0
    }.freeze

    # Defaults at the level that `RSERVE_COMPAT` asks for.
    DEFAULTS = defaults(CompatLevel.from_env).freeze

    # The options as they are now, before {#clamp} too.
    #
    # @return [UserFileDefaultOptions]
    attr_reader :_options

    # @return [PluginLoader]
    attr_reader :plugins

    # @return [Events] where the words for life-cycle events put their blocks: `events:` among the options, or its own
    attr_reader :events

    # @return [Hash{Symbol => Integer}] blocks that those words put there, by event
    attr_reader :event_counts

    # @return [Hash{Symbol => Array<Proc>}] blocks of the words `single` and `cluster`
    attr_reader :mode_blocks

    # @return [Integer] 6 to 9
    attr_reader :compat_level

    # @param user_options [Hash] the command line's; they beat the files'
    # @param default_options [Hash] in place of the built-in defaults
    # @param env [Hash, ENV] environment variables that set defaults
    # @yieldparam user [DSL] writes the user layer
    # @yieldparam file [DSL] writes the files' layer
    # @yieldparam default [DSL] writes the defaults
    def initialize(user_options = {}, default_options = {}, env = ENV, &block)
      @env = env
      @given_defaults = default_options
      @compat_level = CompatLevel.from_env(env)
      @_options = UserFileDefaultOptions.new(user_options, {})
      @plugins = PluginLoader.new
      @event_counts = Hash.new(0)
      @loaded_files = []
      @loaded = @clamped = false
      @mode_blocks = { single: [], cluster: [] }
      @unheard_hooks = []
      set_defaults
      @events = @_options.fetch(:events) || Events.new
      @user_dsl = DSL.new(@_options.user_options, self)
      @file_dsl = DSL.new(@_options.file_options, self)
      @default_dsl = DSL.new(@_options.default_options, self)
      configure(&block) if block
    end

    # @return [UserFileDefaultOptions]
    # @raise [NotClampedError] from level 7 on, before {#clamp}
    def options
      return @_options if @clamped || !CompatLevel.guarded_configuration?(@compat_level)

      raise NotClampedError, "ensure clamp is called before accessing options"
    end

    # Sets options in code, layer by layer; see {#initialize} for the block's arguments.
    def configure
      yield @user_dsl, @file_dsl, @default_dsl
    ensure
      [@user_dsl, @file_dsl, @default_dsl].each(&:_offer_plugins)
      warn_about_unheard_hooks
    end

    # Follows another Puma from here on: `puma_compat` in a config file, `--compat`.
    #
    # @param level [Integer] 6 to 9
    def compat_level=(level)
      changed = @_options.default_options
      binds = changed.slice(:binds) unless changed[:binds] == self.class.defaults(@compat_level)[:binds]
      @compat_level = CompatLevel.check(level)
      CompatLevel.removed_defaults(@compat_level).each { |key| changed.delete(key) }
      changed.merge!(self.class.level_defaults(@compat_level), binds || {}, defaults_from_env, @given_defaults)
      changed[:compat] = @compat_level
    end

    # Evaluates the config files, the ones they `load` included; none of them twice.
    #
    # @return [UserFileDefaultOptions]
    def load
      @loaded = true
      while (path = (config_files.compact - @loaded_files).first)
        @loaded_files << path
        @file_dsl._load_from(path)
      end
      run_mode_blocks
      @_options.finalize_values
      late_bind_defaults
      leave_missing_ipv6
      warn_about_unheard_hooks
      @_options
    end

    # Has the configuration phase ended?
    def clamped? = @clamped ? true : false

    # Loads what was not loaded yet, and ends the configuration phase.
    #
    # @return [UserFileDefaultOptions]
    # @raise [RuntimeError] at level 9, when it has ended
    def clamp
      raise "the configuration is clamped already" if @clamped && CompatLevel.removes_deprecated?(@compat_level)

      load
      @clamped = true
      @_options
    end

    # Puma's name of what the defaults are, with what `env` says.
    #
    # @param env [Hash, ENV]
    # @return [Hash{Symbol => Object}]
    def puma_default_options(env = ENV)
      self.class.new({}, {}, env)._options.default_options
    end

    # @return [Array<String, nil>] the files to evaluate: those asked for, none for a lone `-`, else the first there is
    #   of `config/puma/ENVIRONMENT.rb` and `config/puma.rb` (`[nil]` when there is neither)
    # @raise [NotLoadedError] from level 7 on, before {#load}
    def config_files
      if !@loaded && CompatLevel.guarded_configuration?(@compat_level)
        raise NotLoadedError, "ensure load is called before accessing config_files"
      end

      files = @_options.all_of(:config_files).uniq
      return [] if files == ["-"]
      return files unless files.empty?

      [["config/puma/#{environment_str}.rb", DEFAULT_CONFIG_FILE].find { |path| File.exist?(path) }]
    end

    # @return [Boolean] is there an application to run?
    def app_configured?
      @_options[:app] || File.exist?(rackup)
    end

    # @return [String] path of the rackup file
    def rackup
      @_options[:rackup]
    end

    # The application, loaded now: wrapped in the access log when that is on, and told its configuration.
    #
    # @return [#call]
    # @raise [ConfigError] when there is no rackup file
    def app
      found = @_options[:app] || load_rackup
      found = CommonLogger.new(found, @_options[:custom_logger] || @_options[:logger]) if @_options[:log_requests]
      ConfigMiddleware.new(self, found)
    end

    # @return [String] `development` unless said otherwise
    def environment
      @_options[:environment].respond_to?(:call) ? @_options[:environment].call : @_options[:environment]
    end

    # @return [String]
    def environment_str
      environment.to_s
    end

    # Loads a plugin and makes it part of this configuration.
    #
    # @return [Plugin]
    # @raise [UnknownPlugin]
    def load_plugin(name)
      @plugins.create(name)
    end

    # Calls the hooks registered under `key`, in the order of their definition. One that raises is reported, and the
    # next one runs.
    #
    # @param key [Symbol] e.g. `:before_worker_boot`
    # @param arg [Object] the hook's first argument: a worker's index, the launcher
    # @param hook_data [Hash, nil] per worker; a hook defined with a key gets its own Hash from it
    def run_hooks(key, arg, log_writer, hook_data = nil)
      log_writer.debug("Running #{key} hooks")
      @_options.all_of(key).each do |hook|
        block, id = hook_parts(hook)
        Hook.call(key, log_writer) { id ? block.call(arg, hook_data[id] ||= {}) : block.call(arg) }
      end
    end

    # @return [Hash] all layers merged
    def final_options
      @_options.final_options
    end
    alias flatten final_options

    # @api private
    # Remembers that a cluster-only hook was defined, to warn if there will be no cluster.
    #
    # @param word [Symbol] as written in the config file
    # @param option [Symbol] the option that holds the hooks
    def note_cluster_hook(word, option)
      hook = CompatLevel.hook_name(@compat_level, word, option)
      @unheard_hooks << hook unless @unheard_hooks.include?(hook)
    end

    private

    def set_defaults
      defaults = self.class.defaults(@compat_level).transform_values { |value| value.frozen? ? value.dup : value }
      defaults[:tag] = self.class.folder_name
      defaults.merge!(defaults_from_env, @given_defaults)
      defaults[:compat] = @compat_level
      @_options.default_options.replace(defaults)
    end

    # Environment variables that set a default; a blank one counts as absent.
    def defaults_from_env
      workers = workers_from_env
      from_env = {
        min_threads: integer_from_env("PUMA_MIN_THREADS", "MIN_THREADS"),
        max_threads: integer_from_env("PUMA_MAX_THREADS", "MAX_THREADS", least: 1),
        workers:,
        environment: env_value("APP_ENV") || env_value("RACK_ENV") || env_value("RAILS_ENV") || "development"
      }
      if CompatLevel.reads_new_variables?(@compat_level)
        from_env[:persistent_timeout] = integer_from_env("PUMA_PERSISTENT_TIMEOUT")
        from_env[:fiber_per_request] = env_value("PUMA_FIBER_PER_REQUEST")&.then { |v| !%w[0 false].include?(v) }
      else
        from_env[:preload_app] = Rserve.forkable? && (workers || 0) > 1
      end
      from_env.compact
    end

    def run_mode_blocks
      workers = @_options[:workers]
      mode = workers.positive? ? :cluster : :single
      blocks = @mode_blocks[mode]
      @file_dsl.inject(&blocks.shift) until blocks.empty?
      return if @_options[:workers] == workers

      raise ConfigError, "cannot change the number of workers inside a #{mode} configuration hook"
    end

    def workers_from_env
      value = env_value("WEB_CONCURRENCY")
      return unless value

      return ProcessorCount.detect if value == "auto"

      number_from("WEB_CONCURRENCY", value, "a whole number or auto", -DSL::Numbers::MOST)
    end

    # @param names [Array<String>] the first that is set counts
    def integer_from_env(*names, least: 0)
      name = names.find { |candidate| env_value(candidate) } or return
      number_from(name, env_value(name), "a whole number", least)
    end

    def number_from(name, value, kind, least)
      number = Integer(value, exception: false)
      raise ConfigError, "#{name} must be #{kind}, not #{value.inspect}" unless number

      DSL::Numbers.in_range(name, number, least:)
    rescue ArgumentError => e
      raise ConfigError, e.message
    end

    def env_value(name)
      value = @env[name].to_s.strip
      value unless value.empty?
    end

    # From level 7 on a cluster preloads unless it prunes or is configured otherwise, as only the loaded files can tell.
    def late_bind_defaults
      return unless CompatLevel.preloads_by_files?(@compat_level)

      defaults = @_options.default_options
      defaults[:preload_app] = @_options[:workers] > 1 && !@_options[:prune_bundler] && Rserve.forkable?
    end

    # At level 8 binds to any IPv6 address are to any IPv4 address on a machine that has no IPv6.
    def leave_missing_ipv6
      return if !CompatLevel.prefers_ipv6?(@compat_level) || self.class.ipv6_interface_available?

      unless @_options[:binds].grep(IPV6).empty?
        warn "WARNING: IPv6 bind requested but no non-loopback IPv6 interface was detected"
      end
      [@_options.user_options, @_options.file_options, @_options.default_options].each do |layer|
        layer[:binds] = layer[:binds].map { |url| url.sub(ANY_IPV6, '\10.0.0.0') } if layer[:binds]
      end
    end

    # A hook is a block, or a block with the name of the data it wants, or what gems for Puma 7 put there.
    def hook_parts(hook)
      case hook
      when Hash then [hook.fetch(:block), hook[:id]]
      when Array then hook
      else [hook, nil]
      end
    end

    def warn_about_unheard_hooks
      unheard = @unheard_hooks
      @unheard_hooks = []
      return if @_options[:silence_fork_callback_warning] || @_options[:workers].to_i.positive?

      unheard.each { |hook| LogWriter.stdio.log("Warning: #{unheard_text(hook)}") }
    end

    def unheard_text(hook)
      unless CompatLevel.wordy_warnings?(@compat_level)
        return "there are no worker processes without `workers` above zero, so your `#{hook}` block will not run."
      end

      "The code in the `#{hook}` block will not execute in the current Puma configuration. The `#{hook}` block only " \
        "executes in Puma's cluster mode. To fix this, either remove the `#{hook}` call or increase Puma's worker " \
        "count above zero."
    end

    def load_rackup
      raise ConfigError, "Missing rackup file '#{rackup}'" unless File.exist?(rackup)

      found, rackup_options = rack_builder.parse_file(rackup)
      take_rackup_options(rackup_options || {})
      found
    end

    # Rack 2 reads options from a first line `#\ -O bind=tcp://…`; they take the place of the config files'. Several
    # binds have any suffix: bind1, bind_b.
    def take_rackup_options(rackup_options)
      binds = rackup_options.filter_map { |key, value| value if key.to_s.start_with?("bind") }
      @_options.file_options.merge!(rackup_options)
      @_options.file_options[:binds] = binds unless binds.empty?
    end

    # Rack's own builder where there is a rack gem, else ours. A master that pruned Bundler left it to the workers to
    # set it up.
    def rack_builder
      require "bundler/setup" if @env.key?("PUMA_BUNDLER_PRUNED")
      require "rack"
      require "rack/builder"
      ::Rack::Builder
    rescue LoadError
      require "rserve/rack/builder"
      Rserve::Rack::Builder
    end
  end
end
