# frozen_string_literal: true

require "optparse"
require "socket"
require "rserve/runtime"
require "rserve/compat_level"
require "rserve/const"
require "rserve/control_request"
require "rserve/state_file"

module Rserve
  # The control client `rservectl` (and `pumactl`): tells a running server what to do, through its control server or by
  # a signal to its pid.
  #
  # @example
  #   Rserve::ControlCLI.new(%w[-S tmp/puma.state stats]).run
  class ControlCLI
    # Signal of each command; nil where only the control server can do it.
    CMD_PATH_SIG_MAP = {
      "gc" => nil,
      "gc-stats" => nil,
      "halt" => "SIGQUIT",
      "info" => "SIGINFO",
      "phased-restart" => "SIGUSR1",
      "refork" => "SIGURG",
      "reload-worker-directory" => nil,
      "reopen-log" => "SIGHUP",
      "restart" => "SIGUSR2",
      "start" => nil,
      "stats" => nil,
      "status" => "",
      "stop" => "SIGTERM",
      "thread-backtraces" => nil,
      "top" => nil,
      "worker-count-down" => "SIGTTOU",
      "worker-count-up" => "SIGTTIN"
    }.freeze

    # What each command does, in the order of its help.
    MEANINGS = {
      "status" => "Is it started, and how is it?",
      "top" => "The workers and their load, live; q quits",
      "stats" => "Statistics, as JSON",
      "start" => "Start a server",
      "stop" => "Answer what was accepted, and end",
      "halt" => "End at once",
      "restart" => "Hot restart: the same process loads everything anew",
      "phased-restart" => "Replace one worker at a time",
      "refork" => "Fork the workers anew from worker 0",
      "reload-worker-directory" => "Enter the directory again, for the next phased restart",
      "reopen-log" => "Open the log files anew",
      "worker-count-up" => "One worker more",
      "worker-count-down" => "One worker fewer",
      "thread-backtraces" => "Where every thread is",
      "gc" => "Collect garbage in the master",
      "gc-stats" => "Its GC.stat",
      "info" => "Log where every thread is (BSD; at level 8 anywhere)"
    }.freeze
    private_constant :MEANINGS

    # Commands that the control server does not know: always signals.
    NO_REQ_COMMANDS = %w[info reopen-log worker-count-down worker-count-up].freeze

    # Commands whose answer is printed.
    PRINTABLE_COMMANDS = %w[gc-stats stats thread-backtraces].freeze

    # A command that cannot be carried out; the message says why.
    class Failure < StandardError
    end

    # @param argv [Array<String>]
    # @param stdout [IO]
    # @param stderr [IO]
    # @param env [Hash, ENV]
    def initialize(argv, stdout = $stdout, stderr = $stderr, env: ENV)
      @state = @quiet = @pidfile = @pid = @control_url = @control_auth_token = @config_file = @command = nil
      @argv = argv.dup
      @stdout = stdout
      @stderr = stderr
      @env = env
      @compat_level = CompatLevel.from_env(env)
      @environment = env["APP_ENV"] || env["RACK_ENV"] || env["RAILS_ENV"]
      exiting_on_failure do
        parse_options
        take_command
        read_config_file
      end
    end

    # Prints to `stdout`, unless `--quiet`.
    def message(text)
      @stdout.puts(text) unless @quiet
    end

    # Carries the command out. The process exits when that fails, with status 1.
    def run
      return start if @command == "start"

      exiting_on_failure do
        prepare_configuration
        if @command == "top" && @control_url
          watch
        elsif @control_url && !NO_REQ_COMMANDS.include?(@command)
          send_request
        else
          send_signal
        end
      end
    end

    private

    def parse_options
      OptionParser.new { |parser| define_options(parser) }.parse!(@argv)
    rescue OptionParser::ParseError => e
      raise Failure, e.message
    end

    def define_options(parser)
      parser.banner = "Usage: #{Rserve.product.title}ctl (-p PID | -P pidfile | -S status_file | " \
                      "-C url -T token | -F config.rb) COMMAND"
      parser.separator("\nCommands:")
      MEANINGS.each { |command, meaning| parser.separator(Kernel.format("    %-32s %s", command, meaning)) }
      parser.separator("\nThe server, by one of these; else by what the config file says:")
      parser.on("-S", "--state PATH", "State file of the server") { |path| @state = path }
      parser.on("-P", "--pidfile PATH", "Pid file of the server") { |path| @pidfile = path }
      parser.on("-p", "--pid PID", Integer, "Pid of the server") { |pid| @pid = pid }
      parser.on("-C", "--control-url URL", "URL of the control server") { |url| @control_url = url }
      parser.on("-T", "--control-token TOKEN", "Token of the control server") { |token| @control_auth_token = token }
      parser.on("-F", "--config-file PATH", "Config file of the server; - for none") { |path| @config_file = path }
      parser.on("-e", "--environment ENVIRONMENT", "The application's environment") { |name| @environment = name }
      parser.separator("\nOther:")
      parser.on("-Q", "--quiet", "Print no messages") { @quiet = true }
      parser.on_tail("-H", "--help", "Print this") { print_and_exit(parser) }
      parser.on_tail("-V", "--version", "Print the version") { print_and_exit(Rserve.product.version) }
    end

    def print_and_exit(text)
      @stdout.puts(text)
      exit
    end

    def take_command
      @command = @argv.shift
      raise Failure, "Available commands: #{CMD_PATH_SIG_MAP.keys.join(", ")}" unless @command
      raise Failure, "Invalid command: #{@command}" unless CMD_PATH_SIG_MAP.key?(@command)
    end

    # What the config file says about where the server can be reached; options on the command line go first.
    def read_config_file
      return @config_file = nil if @config_file == "-"

      @config_file ||= ["config/puma/#{@environment || "development"}.rb", "config/puma.rb"].find { |p| File.exist?(p) }
      return unless @config_file

      require "rserve"
      configuration = Configuration.new({ config_files: [@config_file] }, {}, @env)
      options = configuration.load
      @compat_level = configuration.compat_level
      @pidfile ||= options[:pidfile]
      @control_url ||= options[:control_url]
      @control_auth_token ||= options[:control_auth_token]
      @state = options[:state] if @state.nil?
    end

    def prepare_configuration
      if @state
        read_state_file
      elsif @pidfile && !@pid
        @pid = read_pid_file
      end
    end

    def read_state_file
      raise Failure, "State file not found: #{@state}" unless File.exist?(@state)

      state = StateFile.new
      state.load(@state)
      @control_url = state.control_url
      @control_auth_token = state.control_auth_token
      @pid = state.pid
    end

    def read_pid_file
      Integer(File.read(@pidfile).strip)
    rescue SystemCallError => e
      raise Failure, "Pid file not readable: #{e.message}"
    rescue ArgumentError
      raise Failure, "No pid in #{@pidfile}"
    end

    def send_request
      return report_figures if @command == "status" && ControlRequest.reachable?(@control_url)

      status, body = ControlRequest.new(@control_url, @control_auth_token).get(@command)
      raise Failure, refusal(status, body) unless status == 200

      message "Command #{@command} sent success"
      message body if PRINTABLE_COMMANDS.include?(@command)
    end

    def refusal(status, body)
      case status
      when 403 then "Unauthorized access to server (wrong auth token)"
      when 404 then "Command error: #{body}"
      else "Bad response from server: #{status}"
      end
    end

    def send_signal
      raise Failure, "Neither pid nor control url available" unless @pid

      signal = @command == "info" ? backtrace_signal : CMD_PATH_SIG_MAP[@command]
      return message("'#{@command}' not available via pid only") unless signal

      begin
        return report_status if @command == "status"

        Process.kill(signal, @pid)
      rescue Errno::ESRCH
        return start if @command == "restart"

        raise Failure, "No pid '#{@pid}' found"
      end
      message "Command #{@command} sent success"
    end

    def backtrace_signal
      Rserve.backtrace_signal(@compat_level) || raise(Failure, "'info' needs SIGINFO, which this system does not have")
    end

    def report_status
      Process.kill(0, @pid)
      message "#{product_name} is started"
    rescue Errno::ESRCH
      raise Failure, "#{product_name} is not running"
    end

    # Puma's client says no more than that the server is started, and scripts may compare it; ours adds what it knows.
    def report_figures
      message "#{product_name} is started"
      return if Rserve.poses_as_puma?

      require "rserve/control/figures"
      require "rserve/control/words"
      message Control::Words.status(figures)
    rescue ControlRequest::Failure
      nil # it is started all the same
    end

    # @return [Control::Figures]
    def figures
      status, body = ControlRequest.new(@control_url, @control_auth_token).get("stats")
      raise ControlRequest::Failure, refusal(status, body) unless status == 200

      Control::Figures.parse(body, pid: @pid)
    end

    def watch
      require "rserve/control/top"
      terminal = Control::Terminal.new($stdin, @stdout)
      Control::Top.new(terminal, @stdout, local: local?) do
        read_state_file if @state # a server that was restarted may be elsewhere
        figures
      end.run
    end

    def local?
      @control_url.start_with?("unix:") ||
        @control_url.match?(%r{\A\w+://(localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\])[:/]})
    end

    def product_name
      Rserve.product.name
    end

    def start
      require "rserve/cli"
      # The restart command is made of the program's name, and has to be the server's.
      server = $PROGRAM_NAME.sub(/ctl\z/, "")
      $PROGRAM_NAME = server if File.exist?(server)
      CLI.new(start_arguments, LogWriter.new(@stdout, @stderr)).run
    end

    def start_arguments
      options = {
        "-S" => @state, "--pidfile" => @pidfile, "--control-url" => @control_url,
        "--control-token" => @control_auth_token, "-C" => @config_file, "-e" => @environment
      }
      (@quiet ? ["-q"] : []) + options.compact.flat_map { |option, value| [option, value.to_s] }
    end

    def exiting_on_failure
      yield
    rescue Failure, ControlRequest::Failure => e
      message e.message
      exit 1
    rescue SystemCallError => e
      message @command == "status" ? "#{product_name} is not running" : e.message
      exit 1
    end
  end
end
