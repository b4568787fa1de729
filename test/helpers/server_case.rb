# frozen_string_literal: true

require_relative "../helper"
require_relative "server_process"

# A test that runs servers, in the words of the person who runs them.
class ServerCase < TimedTestCase
  def setup
    @servers = []
    @folders = []
  end

  def teardown
    stuck = @servers.reject(&:stop)
    unless (passed? && stuck.empty?) || skipped?
      @servers.each { |server| warn "--- #{full_name}: log of #{server.pid}", server.log, "---" }
    end
    @folders.each { |folder| FileUtils.rm_rf(folder) }
    assert_empty stuck.map(&:pid), "servers that INT did not end"
  end

  private

  attr_reader :server

  # Starts a server and waits until it takes connections. It listens on a free port, and its executable is rserve's.
  #
  # @param arguments [Array<String>] further command line arguments
  # @param app [String, nil] rackup file
  # @param config [String, nil] content of the configuration file
  # @param config_file [String] its path, if it is no file of the test's; without either, none is looked for
  # @param listen [Boolean] whether to say where to listen; false when `arguments` or `config` do
  # @param unix [Boolean] listen on a unix socket
  # @param wait [Boolean] whether to wait
  # @return [ServerProcess]
  def spawn_server(*arguments, app: "test/rackup/hello.ru", config: nil, config_file: "-", listen: true, unix: false,
                   wait: true, env: {}, chdir: TestServer::ROOT)
    path = File.join(folder, "server.sock") if unix
    port = UniquePort.call if listen && !unix
    command = [RbConfig.ruby, "-Ilib", TestServer.rserve]
    command += ["-b", unix ? "unix://#{path}" : "tcp://127.0.0.1:#{port}"] if listen
    command += ["-C", config ? file("config.rb", config) : config_file]
    start_process(command + arguments + [app].compact, wait:, port:, path:, env:, chdir:)
    # It listens a moment after the server says that it is there.
    controlled = arguments.include?("--control-url") || config&.match?(/^\s*activate_control_app/)
    server.wait_for_log(/Starting control server/) if wait && controlled
    server
  end

  # @param command [Array<String>] any command that starts a server
  def start_process(command, wait: true, **options)
    @server = ServerProcess.new(command, **options)
    @servers << @server
    @server.wait_for_log(/Ctrl-C/) if wait
    @server
  end

  # A folder of this test's own, gone after it.
  def folder = (@folders << Dir.mktmpdir("rserve-test")).last

  # A file in a folder of its own.
  def file(name, content) = File.join(folder, name).tap { |path| File.write(path, content) }

  def get(...) = server.get(...)
  def request(...) = server.request(...)

  def hot_restart
    mark = server.mark
    server.signal(:USR2)
    server.wait_for_log(/Ctrl-C/, after: mark)
  end

  def assert_log(pattern, timeout: 10) = assert(server.wait_for_log(pattern, timeout:))
  def refute_log(pattern) = refute_match(pattern, server.log)

  # @param code [Integer, Symbol] exit status, or the signal that it dies by
  def assert_exits(code)
    status = server.wait_exit
    if code.is_a?(Symbol)
      assert_equal Signal.list.fetch(code.to_s), status.termsig, status.to_s
    else
      assert_equal code, status.exitstatus, status.to_s
    end
  end

  def assert_serving(text = "Hello World") = assert_equal(text, get("/").body)

  def assert_refuses_connections
    server.wait_until("nobody listens", 5) do
      server.connect.close
      false
    rescue Errno::ECONNREFUSED, Errno::ENOENT
      true
    end
  end
end
