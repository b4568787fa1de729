# frozen_string_literal: true

require "rserve/runtime"
require "rserve/server/accept_queue"
require "rserve/process/blame"
require "rserve/puma/const"
require "rserve/config/config_error"
require "rserve/control/server"
require "rserve/puma/puma_gem"

module Rserve
  # What single and cluster mode have in common: the banner, the application, the control server, redirected output.
  class Runner
    def initialize(launcher)
      @launcher = launcher
      @log_writer = launcher.log_writer
      @events = launcher.events
      @config = launcher.config
      @options = launcher.options
      @app = nil
      @control = nil
      @started_at = Time.now
    end

    # Is the server for development, by its environment?
    def development?
      @options[:environment] == "development"
    end

    def test?
      @options[:environment] == "test"
    end

    # To the standard output, as a line of this process.
    def log(line)
      @log_writer.log(line)
    end

    # Writes a line to `stderr` and ends the process with status 1.
    def error(line)
      @log_writer.error(line)
    end

    # Writes a line with `--debug`.
    def debug(line)
      @log_writer.log("- #{line}") if @options[:debug]
    end

    # Opens the operator's port, and serves there: before the application is loaded, for as long as that may take.
    def start_operator_port
      @launcher.operator_port.open(@launcher.binder)
      @launcher.operator_port.serve unless @launcher.generation&.proves_itself?
    end

    # Serves the control application when a control URL is set.
    def start_control
      open_control
      run_control
    end

    # Opens the control server's listener.
    def open_control
      url = @options[:control_url]
      return unless url

      status = App::Status.new(@launcher, @options[:control_auth_token], data_only: @options[:control_data_only])
      binder = Binder.new(@log_writer, @options)
      open_control_listener(binder, url)
      @control = ControlServer.new(status, binder, @log_writer)
    end

    # Serves there.
    def run_control
      @control&.run
    end

    # Leaves it to the next generation.
    def abandon_control
      stop_control
      @control&.binder&.close
    end

    # @return [Array<Array(String, String, String, IO)>] as {Binder#handover}
    def control_handover
      @control ? @control.binder.handover.map { |listener| ["control", *listener.drop(1)] } : []
    end

    # Stops the control server; the request at hand is answered.
    def stop_control
      @control&.stop(true)
    end

    # Closes the control server's listener, and removes its socket.
    def close_control_listeners
      @control&.binder&.close_listeners
    end

    # Is there a file that HUP opens anew?
    def redirected_io?
      !(@options[:redirect_stdout] || @options[:redirect_stderr]).nil? || @launcher.access_log.file?
    end

    # Opens the files of `stdout_redirect` for the first time, when there are any.
    #
    # @raise [ConfigError] when one cannot be opened at a first start
    def begin_redirect
      redirect_io
    rescue ConfigError => e
      @launcher.bear(e)
    end

    # Opens the files of `stdout_redirect`, when there are any.
    #
    # @raise [ConfigError] when one cannot be opened
    def redirect_io
      append = @options[:redirect_append]
      redirect($stdout, "STDOUT", @options[:redirect_stdout], append)
      redirect($stderr, "STDERR", @options[:redirect_stderr], append)
      return unless @options[:mutate_stdout_and_stderr_to_sync_on_write]

      LogStream.settle
      [$stdout, $stderr].each { |stream| stream.sync = true unless stream.closed? } # the application may close them
    end

    # Opens them anew. If a file cannot be opened, a line says so, and the stream stays what it was.
    def reopen_logs
      redirect_io
      @launcher.access_log.reopen
    rescue ConfigError => e
      log "! #{e.message}"
    end

    # TERM came to a process that was forked from this one and has this one's traps.
    def end_child
      Signal.trap("TERM", "DEFAULT")
      Process.kill("TERM", Process.pid)
    end

    # Sets the traps that the mode needs besides the launcher's.
    #
    # @param signals [Signals]
    def setup_signals(signals); end

    # Loads the application, then opens the listeners: a broken application should not make clients wait.
    def load_and_bind
      check_app_configured
      begin
        @app = @config.app
      rescue SignalException # an operator's
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException
        tell_why_not_loaded(e)
        e.extend(ToldError) unless e.frozen? || e.is_a?(OperatorError) || e.is_a?(SystemExit)
        raise
      end

      bind
    end

    # @return [#call] loaded when first asked for
    def app
      @app ||= @config.app
    end

    # @return [Server] on the launcher's listeners, not yet running
    def start_server
      server = Server.new(app, @launcher.events, @options)
      server.inherit_binder(@launcher.binder)
      server.tell_in(@launcher.telemetry)
      server
    end

    # @return [String] e.g. "ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux]"
    def ruby_engine
      RUBY_DESCRIPTION
    end

    private

    def tell_why_not_loaded(error)
      reason = "#{error.class}: #{error.message}"
      reason = "it ends the process, exit #{error.status}" if error.is_a?(SystemExit)
      log "! Unable to load application: #{reason}"
      Blame.frames(error).each { |frame| log "!   at #{frame}" }
    end

    def check_app_configured
      return if @config.app_configured?

      raise ConfigError, "No application configured, nothing to run: there is no #{@config.rackup}"
    end

    def bind
      @launcher.binder.parse(@options[:binds])
    end

    # What a fork adds from Ruby 3.3 on: the child, its timer thread, and one in reserve for whoever else makes threads.
    # Ruby ends its own timer thread before and makes it anew after, in parent and child, without looking whether it
    # could: then it hangs in the next fork, or as it ends (github.com/ruby/ruby/pull/13671).
    FORK_ROOM = 3
    private_constant :FORK_ROOM

    # A fork must not fail because a line cannot be written.
    #
    # @return [Integer] pid
    # @raise [Errno::EAGAIN]
    def fork_process(&)
      LogStream.settle
      raise Errno::EAGAIN, "fork" if RUBY_VERSION >= "3.3" && !Native.spare_threads?(FORK_ROOM)

      Process.fork(&)
    end

    # @param mode [String] "single" or "cluster"
    def output_header(mode)
      product = Rserve.product
      log "#{product.name} starting in #{mode} mode..."
      log "* #{Rserve.version_line}"
      log "* Ruby version: #{ruby_engine}"
      log "*  Min threads: #{@options[:min_threads]}"
      log "*  Max threads: #{@options[:max_threads]}"
      log "*  Environment: #{@config.environment}"
      log "#{mode == "cluster" ? "*   Master PID: " : "*          PID: "}#{@launcher.server_pid}"
      other = PumaGem.beside_rserve
      log "! WARNING: #{other}" if other
      return if @options[:gc] != :out_of_band || Server::Collector.possible?

      log "! gc :out_of_band: no effect before Ruby 3.3"
    end

    def open_control_listener(binder, url)
      umask = @options[:control_url_umask]
      url = "#{url}#{url.include?("?") ? "&" : "?"}umask=#{umask}" if umask && url.start_with?("unix:")
      fd, inherited = @launcher.generation&.inherited_control
      if fd
        binder.inherit(fd, inherited)
        binder.unix_paths.concat(@launcher.binder.unix_paths)
      end
      binder.parse([url], nil, "Starting control server")
    rescue Errno::EADDRINUSE, RuntimeError => e
      raise if e.is_a?(ConfigError)

      taken = e.class.new("Error: Control server address '#{url}' is already in use. Original error: #{e.message}")
      raise taken.extend(OperatorError)
    end

    def redirect(stream, name, path, append)
      return unless path

      log = LogStream.new(stream)
      log.settle
      mode = append ? "a" : "w"
      File.open(path, mode).close # where this fails, freopen(3) would leave no stream at all
      stream.reopen(path, mode)
      log.write("=== #{Rserve.product.title} startup: #{Time.now} ===\n")
    rescue SystemCallError => e
      raise ConfigError, "Cannot redirect #{name} to #{path}: #{SystemCallError.new(nil, e.errno).message}"
    end

    # What `stats` has in both modes, after the mode's own figures; Puma has the versions alone.
    def common_stats
      { **versions, **AcceptQueue.stats(@launcher.binder.ios) }
    end

    def versions
      {
        versions: {
          puma: Const::PUMA_VERSION,
          ruby: { engine: RUBY_ENGINE, version: RUBY_VERSION, patchlevel: RUBY_PATCHLEVEL }
        }
      }
    end

    def utc_iso8601(time)
      time.utc.strftime("%FT%TZ")
    end

    def warn_ruby_mn_threads
      return unless ENV.key?("RUBY_MN_THREADS")

      log "! WARNING: Detected `RUBY_MN_THREADS=1`"
      log "! Ruby's M:N scheduler is experimental, and no server has been tested with it."
    end

    # With `PUMA_DEBUG`: which native libraries the process has loaded.
    def debug_loaded_extensions(title)
      @log_writer.debug("#{"─" * 34} #{title}")
      extension = /\.#{RbConfig::CONFIG["DLEXT"]}\z/
      $LOADED_FEATURES.grep(extension).each { |path| @log_writer.debug("    #{path}") }
    end
  end
end
