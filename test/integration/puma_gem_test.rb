# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/bundles"

# The puma gem in the same bundle as rserve, where another gem depends on it.
class PumaGemTest < ServerCase
  include Bundles

  RACKUP = <<~'RUBY'
    require "puma"
    require "puma/server"
    require "puma/minissl"
    require "rack/handler/puma" if Rack.release < "3"

    run lambda { |_|
      of_the_gem = $LOADED_FEATURES.grep(%r{/puma-\d.*/(?!version|const)[^/]*\z})
      file = Puma::Server.instance_method(:run).source_location.first
      [200, {}, ["#{Puma::Server.name} #{file} #{of_the_gem} #{ENV.fetch("BUNDLE_JOBS", nil)}"]]
    }
  RUBY

  def setup
    super
    skip "no puma gem here" unless Bundles.installed?("puma")
    skip "it is the server that is tested" if TestServer::PUMA
  end

  def test_gems_that_require_puma_get_rserve
    [%w[-w 0], %w[-w 1], %w[-w 1 --prune-bundler]].each do |arguments|
      serve(arguments)
      assert_equal "Rserve::Server #{TestServer::ROOT}/lib/rserve/server.rb [] 3", get("/").body, arguments.join(" ")
      next assert_log(/Pruning Bundler environment/) if arguments.include?("--prune-bundler")

      assert_log(/^(\[\d+\] )?! WARNING: The Gemfile has rserve and puma \S+: rserve serves, but a plain `bin/)
    end
  end

  def test_a_puma_that_another_gem_brings_is_no_mistake
    gem = folder
    File.write(File.join(gem, "needy.gemspec"), <<~RUBY)
      Gem::Specification.new("needy", "1") { |spec| spec.add_dependency("puma"); spec.summary = spec.author = "x" }
    RUBY
    serve([], others: "gem 'needy', path: #{gem.dump}, require: false\n")
    assert_includes get("/").body, "Rserve::Server"
    refute_log(/WARNING/)
  end

  private

  def serve(arguments, others: "gem 'puma'\n")
    place = folder
    gems = "#{others}gem 'rack'\ngem 'rserve', path: #{TestServer::ROOT.dump}\n"
    env = bundle(place, gems, task: "lock", env: { "BUNDLE_JOBS" => "3" })
    File.write(File.join(place, "config.ru"), RACKUP)
    port = UniquePort.call
    start_process([RbConfig.ruby, "-S", "bundle", "exec", "rserve", *arguments, "-b", "tcp://127.0.0.1:#{port}"],
                  port:, chdir: place, env:)
  end
end
