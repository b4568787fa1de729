# frozen_string_literal: true

require_relative "../helper"
require "open3"

# Puma's name for rserve, as gems and applications meet it. Each case in a process of its own: what is loaded counts.
class FacadeTest < Minitest::Test
  def test_every_file_of_pumas_that_gems_require_is_there_and_none_of_them_is_missing_its_class
    names = {
      "binder" => "Binder", "cli" => "CLI", "client" => "Client", "configuration" => "Configuration",
      "control_cli" => "ControlCLI", "dsl" => "DSL", "error_logger" => "ErrorLogger", "events" => "Events",
      "launcher" => "Launcher", "launcher/bundle_pruner" => "Launcher::BundlePruner", "log_writer" => "LogWriter",
      "minissl" => "MiniSSL", "null_io" => "NullIO", "plugin" => "Plugin", "puma_http11" => "HttpParser",
      "server" => "Server", "state_file" => "StateFile", "util" => "Util", "app/status" => "App::Status",
      "thread_pool" => "ThreadPool::ForceShutdown", "rack/builder" => "Rack::Builder"
    }
    names.each do |file, name|
      assert_equal "Puma::#{name}", ruby("require 'puma/#{file}'; print Puma::#{name}"), file
    end
  end

  # A file that the façade lacked would be loaded from the gem, over rserve's classes.
  def test_every_ruby_file_of_the_puma_gem_has_its_like
    # It is not in this bundle.
    specifications = Gem.path.flat_map { |folder| Dir.glob("#{folder}/specifications/puma-[0-9]*.gemspec") }
    gems = specifications.map { |file| Gem::Specification.load(file).full_gem_path }
    gem = gems.find { |path| File.exist?("#{path}/lib/puma.rb") }
    skip "no puma gem here" unless gem
    files = Dir.glob("{puma,puma/**/*,rack/handler/puma}.rb", base: File.join(gem, "lib"))
    facade = Dir.glob("**/*.rb", base: File.join(TestServer::ROOT, "lib/rserve/compat"))

    assert_empty files - facade - %w[puma/accept_nonblock.rb puma/queue_close.rb puma/systemd.rb],
                 "not counting what only Puma 5 has"
  end

  def test_who_asks_for_puma_by_name_gets_its_name
    assert_equal "Puma 6.6.0", ruby("require 'puma'; print Rserve.product.name, ' ', Puma::Const::VERSION")
    assert_equal "rserve", ruby("require 'rserve/cli'; require 'puma'; print Rserve.product.name")
    assert_equal "Rserve::DSL", ruby("require 'rserve/cli'; require 'puma'; print Puma::DSL")
  end

  def test_level_decides_which_puma_it_says_to_be
    assert_equal "8.0.2", ruby("require 'puma'; print Puma::Const::PUMA_VERSION", "RSERVE_COMPAT" => "8")
  end

  def test_a_handler_without_the_rack_gem_serves_at_level_8
    assert_equal "served", ruby(<<~RUBY, "RSERVE_COMPAT" => "8")
      require "rack/handler/puma" # which makes a module Rack
      require "puma/server"
      server = Puma::Server.new(->(_) { [200, {}, []] })
      server.add_tcp_listener("127.0.0.1", 0)
      server.run
      server.stop(true)
      print "served"
    RUBY
  end

  # The table of Puma 6 to 8, which has neither 5's teapot nor its 510.
  def test_reason_phrases_are_those_that_are_sent
    assert_equal 'OK:nil:"Too Early":"Not Extended (OBSOLETED)":61:true', ruby(<<~RUBY)
      require "puma/const"
      codes = Puma::HTTP_STATUS_CODES
      print [codes[200], *codes.values_at(418, 425, 510).map(&:inspect), codes.size, codes.frozen?].join(":")
    RUBY
    assert_equal "[204, 205, 304]", ruby("require 'puma/const'; print Puma::STATUS_WITH_NO_ENTITY_BODY.keys")
  end

  def test_names_of_fields_are_spelled_as_the_level_does
    script = "require 'puma'; p Puma::Const::CONNECTION_CLOSE, Puma::Const::CONTENT_LENGTH_S"
    { "6" => ["Connection: close\r\n", "Content-Length: "],
      "7" => ["connection: close\r\n", "content-length: "] }.each do |level, names|
      assert_equal names.map(&:inspect), ruby(script, "RSERVE_COMPAT" => level).lines(chomp: true)
    end
  end

  def test_config_file_decides_which_puma_gems_see_from_there_on
    Dir.mktmpdir do |folder|
      path = File.join(folder, "config.rb")
      File.write(path, <<~RUBY)
        puma_compat 8
        tag Puma::Const::VERSION
      RUBY
      assert_equal "8.0.2 puma 8.0.2 Into the Arena", ruby(<<~RUBY)
        require "rserve/cli"
        conf = Rserve::Configuration.new(config_files: [#{path.inspect}])
        print conf.load[:tag], " ", Puma::Const::PUMA_SERVER_STRING
      RUBY
    end
  end

  # As in a worker that sets Bundler up, with the puma gem in the bundle.
  def test_puma_gem_that_comes_in_front_later_is_not_loaded
    Dir.mktmpdir do |folder|
      FileUtils.mkdir(File.join(folder, "puma"))
      %w[puma.rb puma/server.rb puma/plugin.rb].each { |path| File.write(File.join(folder, path), "abort 'puma!'") }

      assert_equal "Rserve::Server", ruby(<<~RUBY)
        require "rserve/cli"
        $LOAD_PATH.unshift #{folder.inspect}
        require "puma"
        require "puma/server"
        require "puma/plugin"
        print Puma::Server
      RUBY
    end
  end

  def test_plugin_of_a_gem_registers_itself_under_its_files_name
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p(File.join(folder, "puma/plugin"))
      File.write(File.join(folder, "puma/plugin/shop.rb"), <<~RUBY)
        require "puma/plugin"
        module Puma
          class DSL
            def shop_hours(hours) = @options[:shop_hours] = hours
          end
        end
        Puma::Plugin.create do
          def config(dsl) = dsl.shop_hours(dsl.get(:shop_hours, 0) + 1)
        end
      RUBY
      assert_equal "9", ruby(<<~RUBY)
        require "rserve/cli"
        $LOAD_PATH << #{folder.inspect}
        conf = Puma::Configuration.new { |user| user.plugin(:shop); user.shop_hours(8) }
        print conf.load[:shop_hours]
      RUBY
    end
  end

  private

  def ruby(code, env = {})
    paths = %w[lib lib/rserve/compat].flat_map { |path| ["-I", File.join(TestServer::ROOT, path)] }
    out, err, status = Open3.capture3(env, RbConfig.ruby, *paths, "-e", code)
    assert_predicate status, :success?, err
    out
  end
end
