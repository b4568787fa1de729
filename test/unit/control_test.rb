# frozen_string_literal: true

require_relative "../helper"
require "rserve/control_server"
require "rserve/control_cli"

class ControlTest < TimedTestCase
  # As much of a launcher as commands need.
  class Launcher
    attr_reader :commands

    def initialize = @commands = []
    def stats = { started_at: "2026-01-01T00:00:00Z", backlog: 0 }
    def phased_restart = false
    def thread_status = yield("Thread: TID-x", ["a.rb:1"])
    %i[stop halt restart].each { |command| define_method(command) { @commands << command } }
  end

  def setup
    @launcher = Launcher.new
    @log = Rserve::LogWriter.strings
    @servers = []
  end

  def teardown
    @servers.each do |server|
      server.stop(true)
      server.binder.close_listeners
    end
  end

  def test_commands_answer_as_pumas_do
    url = serve
    {
      "stats" => [200, '{"started_at":"2026-01-01T00:00:00Z","backlog":0}'],
      "stop" => [200, '{ "status": "ok" }'],
      "halt" => [200, '{ "status": "ok" }'],
      "gc" => [200, '{ "status": "ok" }'],
      "phased-restart" => [404, '{ "error": "phased_restart not available" }'],
      "thread-backtraces" => [200, '[{"name":"Thread: TID-x","backtrace":["a.rb:1"]}]'],
      "nosuch" => [404, "Unsupported action"]
    }.each { |command, answer| assert_equal answer, Rserve::ControlRequest.new(url, nil).get(command), command }
    assert_equal %i[stop halt], @launcher.commands
  end

  def test_token_keeps_others_out
    url = serve(token: "secret")
    { nil => 403, "wrong" => 403, "secret" => 200 }.each do |token, status|
      assert_equal status, Rserve::ControlRequest.new(url, token).get("stats").first, token.inspect
    end
  end

  def test_token_may_be_given_by_position_or_by_name
    [["secret"], [nil, { token: "secret" }]].each do |token, options|
      status = Rserve::App::Status.new(@launcher, token, **options.to_h)
      codes = %w[token=wrong token=secret].map do |query|
        status.call({ "PATH_INFO" => "/stats", "QUERY_STRING" => query }).first
      end
      assert_equal [403, 200], codes
    end
  end

  def test_data_only_refuses_what_changes_anything
    url = serve(data_only: true)

    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("stats").first
    assert_equal [404, 'Command "stop" unavailable'], Rserve::ControlRequest.new(url, nil).get("stop")
    assert_empty @launcher.commands
  end

  def test_client_that_sends_nonsense_or_nothing_does_not_stop_the_server
    url = serve
    host, port = url.delete_prefix("tcp://").split(":")
    TCPSocket.open(host, port) { |socket| socket.write("\0\0\r\n\r\n") }
    TCPSocket.open(host, port, &:close)

    assert_equal 200, Rserve::ControlRequest.new(url, nil).get("stats").first
  end

  def test_client_prints_what_became_of_the_command
    url = serve(token: "secret")
    {
      ["-C", url, "-T", "secret", "stop"] => [0, "Command stop sent success\n"],
      ["-C", url, "-T", "secret", "stats"] => [0, "Command stats sent success\n{\"started_at\":"],
      ["-C", url, "-T", "wrong", "stop"] => [1, "Unauthorized access to server (wrong auth token)\n"],
      ["-C", url, "-T", "secret", "phased-restart"] => [1, "Command error: { \"error\": "],
      ["-C", url, "status"] => [0, " is started\n"],
      ["-C", "tcp://127.0.0.1:#{UniquePort.call}", "status"] => [1, " is not running\n"],
      ["-S", "nosuch.state", "stop"] => [1, "State file not found: nosuch.state\n"],
      ["-p", "999999999", "stop"] => [1, "No pid '999999999' found\n"],
      ["-p", Process.pid.to_s, "stats"] => [0, "'stats' not available via pid only\n"],
      ["-p", Process.pid.to_s, "info"] => [1, "'info' needs SIGINFO, which this system does not have\n"],
      ["stop"] => [1, "Neither pid nor control url available\n"],
      ["nosuch"] => [1, "Invalid command: nosuch\n"],
      [] => [1, "Available commands: gc, gc-stats, halt,"]
    }.each do |argv, (status, text)|
      out = StringIO.new
      assert_equal status, exit_status { Rserve::ControlCLI.new(argv, out, out, env: {}).run }, argv.join(" ")
      assert_includes out.string, text, argv.join(" ")
    end
  end

  def test_help_has_a_line_for_each_command
    out = StringIO.new
    exit_status { Rserve::ControlCLI.new(["--help"], out, out, env: {}) }
    Rserve::ControlCLI::CMD_PATH_SIG_MAP.each_key { |command| assert_match(/^    #{command} +[A-Z]/, out.string) }
  end

  def test_state_file_says_where_the_server_is
    Tempfile.create("state") do |file|
      state = Rserve::StateFile.new
      state.pid = 1
      state.control_url = serve(token: "12 34")
      state.control_auth_token = "12 34"
      state.running_from = "/a b"
      state.save(file.path)
      assert_equal ["---\n", "pid: 1\n", %(control_auth_token: "12 34"\n), %(running_from: "/a b"\n)],
                   File.readlines(file.path).grep_v(/url/)

      out = StringIO.new
      Rserve::ControlCLI.new(["-S", file.path, "status"], out, out, env: {}).run
      assert_includes out.string, "is started"
    end
  end

  private

  def serve(**options)
    binder = Rserve::Binder.new(@log)
    binder.parse ["tcp://127.0.0.1:0"]
    status = Rserve::App::Status.new(@launcher, options.delete(:token), **options)
    server = Rserve::ControlServer.new(status, binder, @log)
    server.run
    @servers << server
    "tcp://127.0.0.1:#{binder.connected_ports.first}"
  end

  def exit_status
    yield
    0
  rescue SystemExit => e
    e.status
  end
end
