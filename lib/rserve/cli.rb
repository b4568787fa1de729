# frozen_string_literal: true

require "rserve"
require "rserve/process/blame"
require "rserve/compat"
require "rserve/config/config_error"
require "rserve/config/configuration"
require "rserve/process/launcher"
require "rserve/process/checks/start"
require "rserve/process/succession/generation"
require "rserve/log/log_writer"
require "rserve/puma/null_io"

module Rserve
  # The command line of `rserve` (and of `puma`): options in, a running server out.
  #
  # @example
  #   Rserve::CLI.new(["-p", "3000", "config.ru"]).run
  class CLI
    # @return [Launcher]
    attr_reader :launcher

    # @param argv [Array<String>]
    # @param log_writer [LogWriter]
    # @param events [Events]
    # @param env [Hash, ENV]
    def initialize(argv, log_writer = LogWriter.stdio, events = Events.new, env: ENV)
      @argv = argv.dup
      @log_writer = log_writer
      @env = env
      setup_options
      @launcher = Launcher.new(@conf, log_writer: @log_writer, events:, argv: @argv, env:)
    end

    # Starts the server as an executable does: what the operator has to mend is one line on `stderr`, and status 1.
    def self.start(argv = ARGV, log_writer = LogWriter.stdio)
      configured(argv, log_writer).run
    rescue OperatorError => e
      give_up(e.message)
    rescue ToldError
      ENV.key?("PUMA_DEBUG") ? raise : exit(1)
    rescue Interrupt # while the application was being loaded
      exit 130
    end

    # @return [CLI] unless the options or the config files are wrong: then the process ends
    def self.configured(argv, log_writer)
      StartCheck.run
      Succession::Generation.adopt(ENV)
      new(argv, log_writer)
    rescue OperatorError => e
      give_up(e.message)
    rescue SystemCallError => e
      give_up(e.message.sub(/ @ \w+/, "")) # without the C function's name
    rescue SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException
      warn e.full_message if ENV.key?("PUMA_DEBUG")
      give_up(e.is_a?(SyntaxError) ? e.message : Blame.line(e))
    end
    private_class_method :configured

    def self.give_up(message)
      Succession::Generation.current&.failed("at boot", message)
      abort("#{Rserve.product.title}: #{message}")
    end
    private_class_method :give_up

    # Runs until the server is stopped; with `--check`, only says what it would run.
    def run
      return Check.new(@launcher).run if @check

      @launcher.own_program
      @launcher.run
    end

    private

    def setup_options
      command_line = Native.parse_command_line(Rserve.product.title, Rserve.product.version, @argv)
      leave(command_line) if command_line.key?(:exit_status)

      @check = command_line[:check]
      @log_writer = LogWriter.new(NullIO.new, $stderr, env: @env) if command_line[:silent]
      $LOAD_PATH.unshift(*command_line.fetch(:include, []))
      token = command_line.slice(:control_token).transform_keys { :control_auth_token }
      @conf = Configuration.new(token, {}, @env) do |user, _file, _default|
        CommandLineOptions.new(command_line).apply(user)
      end
    end

    def leave(command_line)
      status, text = command_line.values_at(:exit_status, :text)
      status.zero? ? $stdout.puts(text) : warn(text)
      exit status
    end

    # What each option of the command line means as words of the config file.
    class CommandLineOptions
      # Options that are the word of the same name, with the option's value.
      SAME = %i[
        debug early_hints environment extra_runtime_dependencies fork_worker idle_timeout pidfile prune_bundler
        rackup restart_command tag workers
      ].freeze

      def initialize(command_line)
        @command_line = command_line
      end

      # @param user [DSL] layer the options go to
      def apply(user)
        given(:compat) { |level| user.puma_compat(level) }
        SAME.each { |option| given(option) { |value| value == true ? user.send(option) : user.send(option, value) } }
        given(:binds) { |binds| binds.each { |bind| bind.is_a?(Integer) ? user.port(bind) : user.bind(bind) } }
        given(:bind_to_activated_sockets) { |which| user.bind_to_activated_sockets(which) }
        given(:config_files) { |paths| paths.each { |path| user.load(path) } }
        given(:dir) { |dir| user.directory(dir) }
        given(:log_format) { |format| user.rserve { log_format(format.to_sym) } }
        given(:log_requests) { |answer| user.log_requests(answer) }
        given(:plugins) { |names| names.each { |name| user.plugin(name) } }
        given(:preload) { user.preload_app! }
        given(:state) { |path| user.state_path(path) }
        given(:threads) { |min, max| user.threads(min, max) }
        given(:control_url) { |url| user.activate_control_app(url, { auth_token: @command_line[:control_token] }) }
        redirect(user)
      end

      private

      def given(option)
        yield @command_line[option] if @command_line.key?(option)
      end

      def redirect(user)
        out, err, append = @command_line.values_at(:redirect_stdout, :redirect_stderr, :redirect_append)
        return if out.nil? && err.nil? && append.nil?

        user.stdout_redirect(out, err, append || false)
      end
    end
    private_constant :CommandLineOptions
  end
end
