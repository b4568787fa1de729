# frozen_string_literal: true

require "optparse"
require "rserve/runtime"
require "rserve/config/compat_level"
require "rserve/control/request"
require "rserve/control/target"

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
      "generations" => nil,
      "halt" => "SIGQUIT",
      "info" => "SIGINFO",
      "metrics" => nil,
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
      "threads" => nil,
      "top" => nil,
      "worker-count-down" => "SIGTTOU",
      "worker-count-up" => "SIGTTIN"
    }.freeze

    # What each command does, in the order of its help.
    MEANINGS = {
      "status" => "Is it started, and how is it?",
      "top" => "The workers and their load, live; q quits",
      "stats" => "Statistics, as JSON",
      "metrics" => "Metrics, as Prometheus reads them",
      "threads" => "What each thread does, and for how long",
      "start" => "Start a server",
      "stop" => "Answer what was accepted, and end",
      "halt" => "End at once",
      "restart" => "Hot restart: the same process loads everything anew; or overlap_restart",
      "generations" => "The generations of a server with overlap_restart, as JSON",
      "phased-restart" => "Replace one worker at a time",
      "refork" => "Fork the workers anew from worker 0",
      "reload-worker-directory" => "Enter the directory again, for the next phased restart",
      "reopen-log" => "Open the log files anew, and read certificates again",
      "worker-count-up" => "One worker more",
      "worker-count-down" => "One worker fewer",
      "thread-backtraces" => "Where every thread is, as JSON",
      "gc" => "Collect garbage, in a cluster in the master",
      "gc-stats" => "GC.stat of the same process, as JSON",
      "info" => "Log where every thread is (BSD; at level 8 anywhere)"
    }.freeze
    private_constant :MEANINGS

    # Commands that Puma's control server does not know: always signals there.
    NO_REQ_COMMANDS = %w[info reopen-log worker-count-down worker-count-up].freeze

    # Commands whose answer is printed.
    PRINTABLE_COMMANDS = %w[gc-stats generations metrics stats thread-backtraces threads].freeze

    # Commands whose end can be waited for.
    RESTARTS = %w[restart phased-restart].freeze

    # Seconds for which `status --check` looks, unless told.
    PATIENCE = 5
    NOWHERE = "Neither pid nor control url available"
    NO_LOG_FILES = "'reopen-log' refused: nothing is redirected to a file, and the signal would stop the server"
    private_constant :RESTARTS, :PATIENCE, :NOWHERE, :NO_LOG_FILES

    # A command that cannot be carried out; the message says why.
    class Failure < StandardError
    end

    # The token is wrong.
    class Unauthorized < Failure
      def initialize = super("Unauthorized access to server (wrong auth token)")
    end
    private_constant :Unauthorized

    # @param argv [Array<String>]
    # @param stdout [IO]
    # @param stderr [IO]
    # @param env [Hash, ENV]
    def initialize(argv, stdout = $stdout, stderr = $stderr, env: ENV)
      @state = @quiet = @pidfile = @pid = @control_url = @control_auth_token = @config_file = @command = nil
      @check = @json = @wait = @help = @named = @configured = nil
      @timeout = ControlRequest::TIMEOUT
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
      parser = OptionParser.new { |options| define_options(options) }
      parser.parse!(@argv)
      print_help(parser) if @help
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
      parser.on("--check [SECONDS]", Float, "status: fail too if for so long (#{PATIENCE}) all threads have been busy",
                "and requests waited") { |seconds| @check = seconds || PATIENCE }
      parser.on("--wait", "restart, phased-restart: wait until the new generation serves, or fail with the reason",
                "that it does not (overlap_restart)") { @wait = true }
      parser.on("--json", "stats, gc-stats, generations, thread-backtraces: print the JSON alone") { @json = true }
      parser.on("--timeout SECONDS", Float,
                "Fail without an answer for so long (#{ControlRequest::TIMEOUT})") { |seconds| @timeout = seconds }
      parser.on("-Q", "--quiet", "Print no messages") { @quiet = true }
      parser.on_tail("-H", "--help", "Print this; after a command what it does") { @help = true }
      parser.on_tail("-V", "--version", "Print the version") { print_and_exit(Rserve.product.version) }
    end

    def print_help(parser)
      command = @argv.first
      return print_and_exit(parser) unless MEANINGS.key?(command)

      require "rserve/control/command_help"
      print_and_exit(Control::CommandHelp.new(command, MEANINGS[command], CMD_PATH_SIG_MAP[command]).text)
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

    # What the config file says about where the server can be reached. Flags go first: beside them a file that was only
    # found is read for what they leave out, and believed where it speaks of the same server.
    def read_config_file
      return @config_file = nil if @config_file == "-"

      @named = [@state, @pidfile, @pid, @control_url].any?
      found = @config_file || (config_files.find { |path| File.exist?(path) } if config_file_needed?)
      return unless found

      require "rserve"
      require "rserve/process/blame"
      @config_file = found
      configuration = Configuration.new({ config_files: [@config_file] }, {}, @env)
      @configured = configuration.load
      @compat_level = configuration.compat_level
      @control_auth_token ||= @configured[:control_auth_token]
      take_configured unless @named && @command != "start"
    rescue SystemCallError, OperatorError => e
      raise Failure, e.message
    rescue StandardError, ScriptError => e
      raise Failure, Blame.line(e)
    end

    def config_files
      ["config/puma/#{@environment || "development"}.rb", "config/puma.rb"]
    end

    def config_file_needed?
      return true if !@named || @command == "start" || @command == "info"
      return false if @state

      @control_url ? @control_auth_token.nil? || NO_REQ_COMMANDS.include?(@command) : needs_control?
    end

    # Is the control server of more use to this command than the pid?
    def needs_control?
      CMD_PATH_SIG_MAP[@command].to_s.empty?
    end

    def take_configured
      @pidfile ||= @configured[:pidfile]
      @control_url ||= @configured[:control_url]
      @state = @configured[:state] if @state.nil?
    end

    def prepare_configuration
      target = Control::Target.new(pid: @pid, url: @control_url, token: @control_auth_token)
      target = target.or(Control::Target.of_state_file(@state)) if @state
      target = target.or(Control::Target.new(pid: Control::Target.pid_in(@pidfile))) if @pidfile && !target.pid
      target = target.or(configured_target) if @configured && @named && target.same?(configured_target)
      @pid = target.pid
      @control_url = target.url
      @control_auth_token = target.token
    end

    # @return [Control::Target] as the config file, or the state file that it names, has it
    def configured_target
      return Control::Target.of_state_file(@configured[:state]) if @configured[:state]

      pidfile = @configured[:pidfile]
      Control::Target.new(pid: (Control::Target.pid_in(pidfile) if pidfile), url: @configured[:control_url])
    rescue Control::NotRunning
      Control::Target.new
    end

    def send_request
      return report_figures if @command == "status" && ControlRequest.reachable?(@control_url, timeout: @timeout)

      return restart_and_wait if @wait && RESTARTS.include?(@command)

      body = ask(@command)
      return message(parse_threads(body).lines) if @command == "threads" && !@json

      message "Command #{@command} sent success" unless @command == "metrics" || (@json && printable?)
      message body if printable?
    end

    def restart_and_wait
      require "rserve/control/restart_wait"
      done, failure = Control::RestartWait.new(@timeout) do |command|
        follow_state_file if @state # a generation may have a control server of its own
        ask(command)
      end.run(@command)
      raise Failure, failure if failure

      message done
    end

    def printable?
      PRINTABLE_COMMANDS.include?(@command)
    end

    # @return [String] the answer
    def ask(command)
      case (status, body = request(command)).first
      when 200 then body
      when 403 then raise Unauthorized
      when 404 then raise Failure, "Command error: #{body}"
      else raise Failure, "Bad response from server: #{status}"
      end
    end

    def request(command)
      ControlRequest.new(@control_url, @control_auth_token, timeout: @timeout).get(command)
    end

    def send_signal
      return message("Command #{@command} sent success") if @command == "reopen-log" && reopened_by_control?
      raise Failure, "'--wait' needs the control server" if @wait
      raise Failure, @control_url ? "'#{@command}' needs the pid: -S, -P or -p" : NOWHERE unless @pid

      signal = @command == "info" ? backtrace_signal : CMD_PATH_SIG_MAP[@command]
      make_sure_of_the_process
      raise Failure, "'#{@command}' not available via pid only" unless signal
      return message(@json ? to_json(running: true, fault: nil) : "#{product_name} is started") if @command == "status"

      refuse_what_would_do_harm(signal)
      Process.kill(signal, @pid)
      message "Command #{@command} sent success"
    end

    # Puma's control server does not know this command, and one that is to be read only refuses it: there it takes the
    # signal.
    def reopened_by_control?
      return false unless @control_url

      status, body = request(@command)
      raise Failure, NO_LOG_FILES if body.include?("reopen_log not available")

      status == 200
    end

    def make_sure_of_the_process
      require "rserve/control/process_state"
      @process = Control::ProcessState.new(@pid)
      Process.kill(0, @pid)
      raise Errno::ESRCH if @process.gone?
      raise Failure, "#{product_name} is suspended: kill -CONT #{@pid}" if @command == "status" && @process.suspended?
    rescue Errno::EPERM
      raise unless @command == "status" # it is somebody else's, and there
    rescue Errno::ESRCH
      raise Control::NotRunning, "No pid '#{@pid}' found"
    end

    # A signal that the server does not expect ends or suspends it.
    def refuse_what_would_do_harm(signal)
      case @command
      when "reopen-log"
        return unless @process.without_log_files?

        raise Failure, NO_LOG_FILES
      when /\Aworker-count/
        return unless @process.defenceless?(signal)

        raise Failure, "'#{@command}' refused: the server has no workers (single mode)"
      end
    end

    def backtrace_signal
      Rserve.backtrace_signal(@compat_level) || raise(Failure, "'info' needs SIGINFO, which this system does not have")
    end

    # Puma's client says no more than that the server is started, and scripts may compare it; ours adds what it knows.
    def report_figures
      return message("#{product_name} is started") if Rserve.poses_as_puma?

      require "rserve/control/health"
      health = Control::Health.new { figures }
      lines = health.lines
      unless @json
        message "#{product_name} is started"
        message lines
      end
      fault = health.fault(@check)
      message to_json(**health.to_h, fault:) if @json
      return unless fault

      @json ? exit(1) : raise(Failure, fault)
    rescue Unauthorized
      raise if @json

      message "#{product_name} is started" # it is so all the same
    end

    # @return [Control::Figures]
    def figures
      require "rserve/control/figures"
      Control::Figures.parse(ask("stats"), pid: @pid)
    end

    def watch
      require "rserve/control/top"
      terminal = Control::Terminal.new($stdin, @stdout)
      Control::Top.new(terminal, @stdout, local: local?) do
        follow_state_file if @state # a server that was restarted may be elsewhere
        [figures, threads]
      end.run
    end

    # @return [Control::Threads, nil] nil of a server that does not tell
    def threads
      status, body = request("threads")
      parse_threads(body) if status == 200
    end

    def parse_threads(json)
      require "rserve/control/threads"
      Control::Threads.parse(json)
    end

    def follow_state_file
      target = Control::Target.of_state_file(@state)
      @pid = target.pid
      @control_url = target.url || @control_url
      @control_auth_token = target.token || @control_auth_token
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
      CLI.start(start_arguments, LogWriter.new(@stdout, @stderr))
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
    rescue Control::NotRunning => e
      fail_with "#{product_name} is not running: #{e.message}"
    rescue Errno::ECONNREFUSED, Errno::ENOENT => e
      fail_with "#{product_name} is not running: #{e.message.sub(/ - connect\(2\) for /, ": ")}"
    rescue ControlRequest::Unanswered => e
      fail_with "#{product_name} does not answer: #{e.message}"
    rescue Failure, ControlRequest::Failure, SystemCallError => e
      fail_with e.message
    end

    def to_json(**object)
      require "json"
      JSON.generate(object)
    end

    def fail_with(text)
      message(@json && @command == "status" ? to_json(running: false, fault: text) : text)
      exit 1
    end
  end
end
