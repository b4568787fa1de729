# frozen_string_literal: true

require "puma/control_cli"
require "shellwords"
require_relative "response_reader"
require_relative "restarts"

# Starts the server as a process of its own and speaks to it through sockets, signals and its standard output.
#
# The names are those that Puma's integration tests use, so that those run here unedited. Standard output is read in
# turn by one reader: `@server.gets` takes the next line, and so do the `wait_for_server_to_*` methods, which also keep
# it in `@server_log`.
class TestIntegration < TimedTestCase
  include Restarts

  HOST = "127.0.0.1"
  TOKEN = "xxyyzz"
  # Seconds for a log line to come. A loaded machine with ten workers to boot takes several.
  LOG_TIMEOUT = 20
  # Seconds for a server to exit after it was told to, beyond which it is killed and the test fails. Puma may miss a
  # signal to a worker that has only just booted, and then waits its worker_shutdown_timeout.
  EXIT_TIMEOUT = TestServer::PUMA ? 35 : 15

  def setup
    @server = nil
    @server_log = +""
    @pid = nil
    @ios_to_close = []
    @config_file = nil
    @bind_path = unused_path(".sock")
    @control_path = nil
    @control_tcp_port = nil
  end

  def teardown
    overdue = @server && @pid && exit_of(@pid, signal: :INT) == :overdue
    @ios_to_close&.each { |io| io.close unless io.closed? }
    show_server_log if @server && !skipped? && (overdue || !passed?)
    @server&.close
    refute overdue, "the server had to be killed: INT did not end it in #{EXIT_TIMEOUT} s"
    refute_path_exists @bind_path, "the socket's path must be gone after the server" if @bind_path
  ensure
    [@bind_path, @config_file&.path, @control_path].compact.each { |path| FileUtils.rm_f(path) }
  end

  private

  # Starts the server and waits until it says how to stop it, which is when it takes connections.
  #
  # @param argv [String] arguments, as in a shell
  # @param unix [Boolean, Symbol] listen on `@bind_path` rather than on a free port
  # @param config [String, nil] content of a configuration file
  # @param no_bind [Boolean] neither: `argv` or the configuration says where to listen
  # @param merge_err [Boolean] standard error goes with standard output
  # @param no_wait [Boolean] do not wait
  # @param puma_debug [Boolean] set PUMA_DEBUG
  # @param env [Hash] environment on top of this process'
  def cli_server(argv, unix: false, config: nil, no_bind: false, merge_err: false, no_wait: false, puma_debug: false,
                 env: {}, **)
    arguments = config ? ["-C", write_config(config)] : []
    arguments += ["-b", bind_url(unix)] unless no_bind
    arguments += argv.shellsplit
    env = env.merge("PUMA_DEBUG" => "true") if puma_debug
    options = merge_err ? { err: %i[child out] } : {}

    @server = IO.popen([env, RbConfig.ruby, "-Ilib", TestServer.puma, *arguments], **options)
    @pid = @server.pid
    wait_for_server_to_boot unless no_wait
    @server
  end

  def write_config(content)
    @config_file = Tempfile.create(["config", ".rb"])
    @config_file.write(content)
    @config_file.close
    @config_file.path
  end

  def bind_url(unix)
    return "unix://#{@bind_path}" if unix

    @bind_port = @tcp_port = UniquePort.call
    "tcp://#{HOST}:#{@tcp_port}"
  end

  def wait_for_server_to_boot(timeout: LOG_TIMEOUT, **)
    @pid = Integer(wait_for_server_to_match(/(?:Master|   ) PID: (\d+)$/, 1, timeout:))
    wait_for_server_to_include("Ctrl-C", timeout:)
  end

  def wait_for_server_to_include(text, timeout: LOG_TIMEOUT, **)
    next_line_that("contains #{text.inspect}", timeout) { |line| line.include?(text) }
    true
  end

  # @return [String] the line, or its group `group`
  def wait_for_server_to_match(pattern, group = nil, timeout: LOG_TIMEOUT, **)
    line = next_line_that("matches #{pattern.inspect}", timeout) { |candidate| candidate.match?(pattern) }
    group ? line[pattern, group] : line
  end

  def next_line_that(wanted, timeout)
    deadline = monotonic + Patience.for(timeout)
    loop do
      left = deadline - monotonic
      flunk "no line in #{timeout} s that #{wanted}" unless left.positive? && @server.wait_readable(left)
      line = @server.gets or flunk "standard output ended before a line that #{wanted}"
      @server_log << line
      return line if yield(line)
    end
  end

  # The workers that say they booted in `phase`, in the order they say it.
  def get_worker_pids(phase = 0, size = workers, **)
    Array.new(size) { Integer(wait_for_server_to_match(/PID: (\d+)\) booted in [.0-9]+s, phase: #{phase}/, 1)) }
  end

  # @return [Array(Integer, Process::Status), nil] as Process.wait2; nil when it is not this process' child, or gone
  def stop_server(pid = @pid, signal: :TERM)
    status = exit_of(pid, signal:)
    flunk "#{signal} did not end #{pid} in #{EXIT_TIMEOUT} s" if status == :overdue
    status && [pid, status]
  end

  # The server was told to end already: wait for that, and check the exit status.
  def wait_server(exit_code = 0, pid: @pid)
    status = exit_of(pid)
    assert_equal exit_code, status&.exitstatus
  ensure
    @server.close
    @server = nil
  end

  # @return [Process::Status, nil, :overdue]
  def exit_of(pid, signal: nil)
    Process.kill(signal, pid) if signal
    deadline = monotonic + Patience.for(EXIT_TIMEOUT)
    until (_, status = Process.wait2(pid, Process::WNOHANG))
      if monotonic > deadline
        Process.kill(:KILL, pid)
        Process.wait(pid)
        return :overdue
      end
      sleep 0.01
    end
    status
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  end

  def connect(path = nil, unix: false)
    socket = unix ? UNIXSocket.new(@bind_path) : TCPSocket.new(HOST, @tcp_port)
    @ios_to_close << socket
    socket << "GET /#{path} HTTP/1.1\r\n\r\n"
    socket
  end

  # The request fits one segment, and Ruby's sockets do not buffer: there is no faster way to write it.
  alias fast_connect connect

  def read_response(connection, timeout = nil)
    response = ResponseReader.new(connection).receive(timeout: timeout || 10)
    [response.head, response.body]
  end

  def read_body(connection, timeout = nil) = read_response(connection, timeout).last

  # What connecting to or writing to a server that has stopped listening may raise.
  def thread_run_refused(unix: false)
    unix ? [IOError, Errno::ENOENT] : [IOError, Errno::ECONNREFUSED, Errno::EPIPE]
  end

  def set_pumactl_args(unix: false)
    if unix
      @control_path = unused_path(".cntl_sock")
      "--control-url unix://#{@control_path} --control-token #{TOKEN}"
    else
      @control_tcp_port = UniquePort.call
      "--control-url tcp://#{HOST}:#{@control_tcp_port} --control-token #{TOKEN}"
    end
  end

  # @return [IO] what the command printed, to read from
  def cli_pumactl(argv, no_bind: false, **)
    url = @control_path ? "unix://#{@control_path}" : "tcp://#{HOST}:#{@control_tcp_port}"
    arguments = no_bind ? argv.shellsplit : ["-C", url, "-T", TOKEN, argv]
    reader, writer = IO.pipe
    @ios_to_close << reader
    Puma::ControlCLI.new(arguments, writer, writer).run
    writer.close
    reader
  end

  # The command's first line says that it was carried out; JSON follows.
  def get_stats = JSON.parse(cli_pumactl("stats").read.split("\n", 2).last)

  def unused_path(extension) = Tempfile.create(["", extension], &:path)

  def monotonic = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def show_server_log
    rest = @server.closed? ? nil : @server.read_nonblock(1_000_000, exception: false)
    @server_log << rest if rest.is_a?(String)
    warn "--- #{full_name}: what the server printed", @server_log, "---"
  end
end
