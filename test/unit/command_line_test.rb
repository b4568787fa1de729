# frozen_string_literal: true

require_relative "../helper"
require "rserve/cli"
require "open3"

class CommandLineTest < Minitest::Test
  # What a command line makes of the options.
  LINES = {
    %w[-p 3000 -b unix:///x] => { binds: ["tcp://0.0.0.0:3000", "unix:///x"] },
    %w[-w2 -t 1:5 -e test] => { workers: 2, min_threads: 1, max_threads: 5, environment: "test" },
    %w[-v --tag x] => { log_requests: true, tag: "x" },
    %w[--preload --prune-bundler] => { preload_app: true, prune_bundler: true },
    %w[--control-token x] => { control_auth_token: "x", control_url: nil },
    ["--control-url", "tcp://x:1", "--control-token", ""] => { control_auth_token: "", control_url: "tcp://x:1" },
    %w[--redirect-stdout a --redirect-append] => { redirect_stdout: "a", redirect_stderr: nil, redirect_append: true },
    %w[-f20 -S s --pidfile p] => { fork_worker: 20, state: "s", pidfile: "p" },
    %w[--fork-worker app.ru] => { fork_worker: 1000, rackup: "app.ru" },
    %w[-R cmd --idle-timeout 3] => { restart_cmd: "cmd", idle_timeout: 3 },
    %w[--bind-to-activated-sockets only] => { bind_to_activated_sockets: "only" },
    %w[--compat 8] => { compat: 8, max_keep_alive: 999 }
  }.freeze

  def test_options_are_words_of_the_config_file
    LINES.each do |argv, wanted|
      conf = configuration(argv)
      assert_equal wanted, wanted.to_h { |key, _| [key, conf._options[key]] }, argv.join(" ")
    end
  end

  def test_command_line_beats_the_config_file
    Tempfile.create(["config", ".rb"]) do |file|
      file.write("port 1\nrackup 'file.ru'\nactivate_control_app 'tcp://x:1', auth_token: 'file'\n")
      file.close
      options = configuration(["-C", file.path, "-p", "2", "--control-token", "mine", "mine.ru"]).load

      assert_equal [["tcp://0.0.0.0:2"], "mine.ru", "tcp://x:1", "mine"],
                   options.final_options.values_at(:binds, :rackup, :control_url, :control_auth_token)
    end
  end

  def test_version_and_help_go_to_the_standard_output
    { "-V" => "rserve version #{Rserve::VERSION}", "-h" => "rserve <options> <rackup file>" }.each do |flag, text|
      out, err, status = rserve(flag)
      assert_predicate status, :success?, flag
      assert_includes out, text
      assert_empty err
    end
  end

  def test_each_mistake_is_one_line_and_status_one
    Dir.mktmpdir do |folder|
      files = { "typo.rb" => "\nwokers 2", "raise.rb" => "\n\nraise 'no luck'", "syntax.rb" => "port (",
                "eight.rb" => "puma_compat 8" }
      files.each { |name, text| File.write(File.join(folder, name), text) }
      {
        %w[--nosuch] => "unknown option --nosuch",
        %w[-w x] => "workers must be an Integer or auto",
        %w[-C nosuch.rb] => "No such file or directory - nosuch.rb",
        %w[-C typo.rb] => "typo.rb:2: unknown configuration word `wokers`, did you mean `workers`?",
        %w[-C raise.rb] => "raise.rb:3: no luck (RuntimeError)",
        %w[--plugin nosuch] => "Unable to find plugin: nosuch",
        %w[--compat 5] => "compat level must be one of 6, 7, 8, 9",
        %w[nosuch.ru] => "there is no nosuch.ru"
      }.each do |argv, text|
        _, err, status = rserve(*argv, "-q", chdir: folder)
        assert_equal 1, status.exitstatus, argv.join(" ")
        assert_includes err, text
        assert_equal 1, err.lines.size, err
      end
      {
        { "RSERVE_COMPAT" => "10" } => "RSERVE_COMPAT: compat level must be one of 6, 7, 8, 9",
        { "PUMA_PERSISTENT_TIMEOUT" => "abc",
          "RSERVE_COMPAT" => "8" } => "PUMA_PERSISTENT_TIMEOUT must be a whole number",
        { "PUMA_PERSISTENT_TIMEOUT" => "abc" } => "PUMA_PERSISTENT_TIMEOUT must be a whole number",
        { "PUMA_MAX_THREADS" => "many" } => "PUMA_MAX_THREADS must be a whole number",
        { "PUMA_MAX_THREADS" => "0" } => "PUMA_MAX_THREADS must be from 1 to 2147483647",
        { "PUMA_MIN_THREADS" => "-5" } => "PUMA_MIN_THREADS must be from 0 to 2147483647",
        { "WEB_CONCURRENCY" => "99999999999" } => "WEB_CONCURRENCY must be from -2147483647 to 2147483647",
        { "MIN_THREADS" => "few" } => "MIN_THREADS must be a whole number"
      }.each do |env, text|
        _, err, status = rserve("-C", "eight.rb", chdir: folder, env:)
        assert_equal [1, "rserve: #{text}"], [status.exitstatus, err[/.*(?=, not)/]], err
        assert_equal 1, err.lines.size, err
      end
      _, err, status = rserve("-C", "syntax.rb", chdir: folder)
      assert_equal [1, true], [status.exitstatus, err.start_with?("rserve: syntax.rb:1: ")], err
    end
  end

  def test_port_in_use_is_one_line
    TCPServer.open("127.0.0.1", 0) do |taken|
      port = taken.addr[1]
      _, err, status = rserve("-b", "tcp://127.0.0.1:#{port}", File.join(TestServer::ROOT, "test/rackup/hello.ru"))
      assert_equal 1, status.exitstatus
      assert_equal %(rserve: Address already in use - bind(2) for "127.0.0.1" port #{port} ) +
                   %((pid #{Process.pid}: #{own_command})\n), err
    end
  end

  private

  def configuration(argv)
    cli = Rserve::CLI.allocate
    cli.instance_variable_set(:@argv, argv)
    cli.instance_variable_set(:@env, {})
    cli.send(:setup_options)
    cli.instance_variable_get(:@conf)
  end

  # As /proc has it.
  def own_command = File.read("/proc/self/cmdline").tr("\0", " ").strip.gsub(/[[:cntrl:]]+/, " ").slice(0, 80)

  def rserve(*argv, chdir: Dir.pwd, env: {})
    Open3.capture3(env, RbConfig.ruby, File.join(TestServer::ROOT, "gem/exe/rserve"), *argv, chdir:)
  end
end
