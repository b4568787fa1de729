# frozen_string_literal: true

require "open3"
require_relative "../helpers/server_case"

# What an operator is told before a start.
class CheckTest < ServerCase
  parallelize_me!

  def test_says_what_would_run
    socket = File.join(folder, "app.sock")
    config = file("config.rb", <<~RUBY)
      workers 2
      threads 1, 3
      preload_app!
      bind "unix://#{socket}"
      environment "staging"
      activate_control_app "tcp://127.0.0.1:0", auth_token: "not-to-be-shown"
      rserve { static "docs"; static "test/rackup", at: "/apps"; x_sendfile "docs"; compress %i[br gzip] }
      plugin :tmp_restart
      before_fork {}
      2.times { on_worker_boot {} }
      on_booted {}
    RUBY
    out = check("-C", config, "test/rackup/hello.ru")
    {
      "Configuration" => config, "Environment" => "staging", "Threads" => "1 to 3 in each worker",
      "Mode" => "cluster of 2 workers; the application is loaded once, before they are forked",
      "Listening" => "unix://#{socket}", "Control" => "tcp://127.0.0.1:0, with a token",
      "Static" => "#{TestServer::ROOT}/docs at /", "X-Sendfile" => "#{TestServer::ROOT}/docs",
      "Compression" => "br (level 4), gzip (level 5)",
      "Plugins" => "tmp_restart", "Hooks" => "before_fork, before_worker_boot (2), after_booted"
    }.each { |name, value| assert_match(/^#{name} +#{Regexp.escape(value)}$/, out) }
    assert_match(%r{^Application +test/rackup/hello\.ru \(loaded in \d+\.\d s\)$}, out)
    refute_includes out, "not-to-be-shown"
    refute_path_exists socket
  end

  def test_runs_and_leaves_nothing
    place = folder
    ran = File.join(place, "hook-ran")
    config = File.join(place, "config.rb")
    File.write(config, <<~RUBY)
      workers 1
      pidfile "#{place}/pid"
      state_path "#{place}/state"
      %i[before_fork on_worker_boot on_booted after_stopped].each { |word| send(word) { File.write("#{ran}", "") } }
    RUBY
    check("-C", config, "-b", "tcp://127.0.0.1:0", "test/rackup/hello.ru")
    assert_equal ["config.rb"], Dir.children(place)
  end

  def test_address_of_the_server_that_this_configuration_runs_is_no_mistake
    pid_file = File.join(folder, "pid")
    spawn_server "--pidfile", pid_file, "-w", "1"
    url = "tcp://127.0.0.1:#{server.port}"
    out = check("-C", "-", "--pidfile", pid_file, "-b", url, "test/rackup/hello.ru")
    assert_includes out, "#{url} (now pid #{server.pid}'s)"
    assert_includes refusal("-C", "-", "-b", url, "test/rackup/hello.ru"), "Address already in use"
    assert_serving
  end

  def test_what_would_keep_it_from_starting_is_one_line
    missing = file("missing.ru", "\nrequire 'no/such/library'\n")
    broken = file("broken.ru", "run(\n")
    {
      [missing] => "Unable to load application: #{missing}:2: cannot load such file -- no/such/library (LoadError)",
      [broken] => "Unable to load application: #{broken}:",
      ["nosuch.ru"] => "no application: there is no nosuch.ru",
      ["-b", "ssl://127.0.0.1:0?key=nosuch&cert=nosuch", "test/rackup/hello.ru"] => "nosuch",
      ["-C", "nosuch.rb"] => "No such file or directory - nosuch.rb"
    }.each do |arguments, reason|
      text = refusal(*arguments)
      assert_includes text, reason
      assert_equal 1, text.lines.size, text
    end
  end

  private

  def check(*arguments)
    output, status = run_check(*arguments)
    assert_equal 0, status.exitstatus, output
    output
  end

  def refusal(*arguments)
    output, status = run_check(*arguments)
    assert_equal 1, status.exitstatus, output
    output
  end

  def run_check(*arguments)
    Open3.capture2e(RbConfig.ruby, "-Ilib", TestServer.rserve, "--check", *arguments, chdir: TestServer::ROOT)
  end
end
