# frozen_string_literal: true

require_relative "../helper"
require "rserve/process/restart"
require "rserve/rack_handler"
require "rserve/rack/builder"

class RestartTest < Minitest::Test
  def test_command_is_the_one_that_was_started
    command = restart(%w[-p 3000]).command

    assert_equal [Gem.ruby, "-p", "3000"], command.values_at(0, -2, -1)
    assert_includes command, $PROGRAM_NAME
  end

  def test_restart_command_of_the_options_goes_first
    assert_equal %w[bin/wrap --x -p 3000], restart(%w[-p 3000], restart_cmd: "bin/wrap --x").command
  end

  def test_environment_forgets_the_sockets_of_this_incarnation
    ENV["PUMA_INHERIT_7"] = "9:tcp://x"
    refute restart([]).environment.key?("PUMA_INHERIT_7")
  ensure
    ENV.delete("PUMA_INHERIT_7")
  end

  def test_directory_is_the_symlink_by_which_the_shell_came
    Dir.mktmpdir do |folder|
      FileUtils.mkdir(File.join(folder, "release"))
      File.symlink("release", link = File.join(folder, "current"))
      pwd = ENV.fetch("PWD", nil)
      Dir.chdir(link) do
        ENV["PWD"] = link
        assert_equal link, restart([]).dir
        ENV["PWD"] = folder
        assert_equal Dir.pwd, restart([]).dir
      end
    ensure
      ENV["PWD"] = pwd
    end
  end

  def test_handler_leaves_what_the_user_did_not_choose_to_the_config_file
    handler = Module.new { extend Rserve::RackHandler }
    Dir.mktmpdir do |folder|
      FileUtils.mkdir(File.join(folder, "config"))
      File.write(File.join(folder, "config/puma.rb"), "port 6001")
      Dir.chdir(folder) do
        {
          { Port: 5001, user_supplied_options: [:Port] } => "tcp://0.0.0.0:5001",
          { Port: 5001, user_supplied_options: [] } => "tcp://0.0.0.0:6001",
          { Port: 5001, Host: "localhost", user_supplied_options: [] } => "tcp://localhost:6001",
          { Host: "::1" } => "tcp://[::1]:9292",
          { Host: "/x.sock" } => "unix:///x.sock",
          {} => "tcp://0.0.0.0:6001"
        }.each { |options, bind| assert_equal [bind], handler.config(->(_) {}, options).load[:binds], options.inspect }
      end
    end
  end

  def test_rackup_files_work_without_rack
    app = Rserve::Rack::Builder.new_from_string(<<~RUBY)
      use Class.new { def initialize(app) = @app = app
                      def call(env) = @app.call(env.merge("seen" => true)) }
      map("/a") { run ->(env) { [200, {}, env.values_at("SCRIPT_NAME", "PATH_INFO", "seen")] } }
      run ->(env) { [404, {}, [env["PATH_INFO"]]] }
    RUBY

    { "/a" => [200, {}, ["/a", "", true]], "/a/b" => [200, {}, ["/a", "/b", true]], "/ab" => [404, {}, ["/ab"]] }
      .each { |path, want| assert_equal want, app.call({ "SCRIPT_NAME" => "", "PATH_INFO" => path }), path }
  end

  private

  def restart(argv, **options)
    Rserve::Restart.new(argv:, options:)
  end
end
