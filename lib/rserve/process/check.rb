# frozen_string_literal: true

require "rserve/process/blame"
require "rserve/config/config_error"
require "rserve/config/fiber_scheduler_class"
require "rserve/server/listener_owner"
require "rserve/log/log_writer"
require "rserve/puma/null_io"
require "rserve/process/checks/front_door"
require "rserve/process/checks/own_files"
require "rserve/control/state_file"

module Rserve
  # `rserve --check`: loads the configuration and the application, opens the listeners and closes them again, and says
  # what would run. No hook runs, nothing is forked, no file is written.
  #
  # An address that this configuration's own server listens on, by its pid file or state file, is no mistake: a check
  # comes before a restart.
  class Check
    # Blocks of the config file that belong to the server's life, as they are named in Puma 7.
    HOOKS = %i[
      before_fork before_worker_fork before_worker_boot before_thread_start after_worker_fork before_thread_exit
      before_worker_shutdown after_worker_shutdown before_refork after_refork on_restart before_restart out_of_band
    ].freeze
    private_constant :HOOKS

    # @param launcher [Launcher]
    # @param stdout [IO]
    def initialize(launcher, stdout = $stdout)
      @launcher = launcher
      @options = launcher.options
      @config = launcher.config
      @stdout = stdout
    end

    # @raise [OperatorError] what would keep the server from starting
    def run
      OwnFilesCheck.new(@options).run { |pid| (@options[:binds] + other_urls).any? { |url| listens?(pid, url) } }
      FrontDoorCheck.new(@options).run
      scheduler = FiberSchedulerClass.of(@options)&.tap(&:check)
      seconds = load_application
      scheduler&.resolve
      listening = try_listeners
      facts(seconds, listening).each do |name, lines|
        Array(lines).each_with_index { |line, index| @stdout.puts format("%-14s %s", index.zero? ? name : "", line) }
      end
      @stdout.puts "Ready to start; nothing was started."
    end

    private

    def load_application
      raise ConfigError, "no application: there is no #{@config.rackup}" unless @config.app_configured?

      begun = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      @config.app
      Process.clock_gettime(Process::CLOCK_MONOTONIC) - begun
    rescue ConfigError, SignalException
      raise
    rescue SystemExit => e
      told = e.exception("it ends the process, exit #{e.status}")
      raise ConfigError, "Unable to load application: #{Blame.line(told)}"
    rescue Exception => e # rubocop:disable Lint/RescueException
      raise ConfigError, "Unable to load application: #{Blame.line(e)}"
    end

    # @return [Array<String>] each URL, with a remark where one is due
    def try_listeners
      urls = @options[:binds] + other_urls
      ours = urls.select { |url| listens?(running_pid, url) }
      @launcher.binder.parse(urls - ours, LogWriter.new(NullIO.new, $stderr))
      @options[:binds].map { |url| ours.include?(url) ? "#{url} (now pid #{running_pid}'s)" : url }
    ensure
      @launcher.binder.close_listeners
    end

    def other_urls
      [@options[:control_url], *@options[:health_bind]].compact
    end

    def listens?(pid, url)
      ListenerOwner.of_url(url)&.pids&.include?(pid)
    end

    # @return [Integer, nil] of the server that these files say is running
    def running_pid
      @running_pid ||= pid_of_pidfile || pid_of_state
    end

    def pid_of_pidfile
      path = @options[:pidfile]
      Integer(File.read(path), exception: false) if path && File.readable?(path)
    end

    def pid_of_state
      path = @options[:state]
      StateFile.new.tap { |state| state.load(path) }.pid if path && File.readable?(path)
    end

    def facts(seconds, listening)
      product = Rserve.product
      {
        "Server" => "#{product.title} #{product.version}, compat level #{@config.compat_level}, " \
                    "Ruby #{RUBY_VERSION} (#{RUBY_PLATFORM})",
        "Configuration" => @config.config_files.compact.then { |files| files.empty? ? "none" : files },
        "Directory" => @launcher.restart_dir,
        "Environment" => @config.environment_str,
        "Application" => "#{@options[:app] ? "from the configuration" : @config.rackup} " \
                         "(loaded in #{seconds.round(1)} s)",
        "Mode" => mode,
        "Threads" => "#{@options[:min_threads]} to #{@options[:max_threads]}#{" in each worker" if clustered?}",
        **fibers,
        "Listening" => listening,
        "Control" => control,
        "Operator" => @options[:health_bind] || "none",
        "Files" => files,
        **front_door,
        "Plugins" => @config.plugins.names.then { |names| names.empty? ? "none" : names.join(", ") },
        "Hooks" => hooks
      }
    end

    def clustered?
      @launcher.clustered?
    end

    def mode
      return "single, without workers" unless clustered?

      workers = @options[:workers]
      loaded = @options[:preload_app] ? "loaded once, before they are forked" : "loaded by each of them"
      forks = ", forked from worker 0" if @options[:fork_worker]
      "cluster of #{workers} #{workers == 1 ? "worker" : "workers"}#{forks}; the application is #{loaded}"
    end

    def control
      url = @options[:control_url]
      return "none" unless url

      token = @options[:control_auth_token].to_s
      "#{url}, #{["", "none"].include?(token) ? "without a token" : "with a token"}"
    end

    def files
      { "pid in" => :pidfile, "state in" => :state, "output to" => :redirect_stdout, "errors to" => :redirect_stderr }
        .filter_map { |what, option| "#{what} #{@options[option]}" if @options[option] }.join(", ")
        .then { |text| text.empty? ? "none" : text }
    end

    # @return [Hash] a line for each thing that the server is to answer by itself
    def front_door
      folders = (@options[:static] || []).map { |it| "#{File.expand_path(it.fetch(:folder))} at #{it.fetch(:at)}" }
      sendfile = (@options[:x_sendfile] || []).map { |folder| File.expand_path(folder) }
      codings = @options[:compress]&.fetch(:codings)&.map { |coding, level| "#{coding} (level #{level})" } || []
      { "Static" => folders, "X-Sendfile" => sendfile, "Compression" => [codings.join(", ")] - [""] }
        .reject { |_, lines| lines.empty? }
    end

    # @return [Hash] a line if fibers are to serve requests
    def fibers
      fibers = @options[:fibers]
      return {} unless fibers

      { "Fibers" => "at most #{fibers[:max]}#{" in each worker" if clustered?}, for " \
                    "#{fibers[:routes]&.join(", ") || "every request"}, by #{fibers[:scheduler]}" }
    end

    def hooks
      blocks = HOOKS.to_h { |name| [name, @options.all_of(name).size] }
      events = @config.event_counts
      all = blocks.merge(events) { |_, one, other| one + other }.reject { |_, count| count.zero? }
      return "none" if all.empty?

      all.map { |name, count| count > 1 ? "#{name} (#{count})" : name.to_s }.join(", ")
    end
  end
end
