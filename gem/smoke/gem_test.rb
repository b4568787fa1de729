# frozen_string_literal: true

require "helpers/server_case"
require "helpers/bundles"

# The gem as others get it: built, installed and run away from this folder.
class GemTest < ServerCase
  include Bundles

  # Compiling takes most of it.
  def self.limit = 600

  HELLO = 'run ->(_env) { [200, {}, ["Hello from elsewhere"]] }'

  def test_source_gem_is_compiled_in_an_empty_gem_home_and_serves
    home = install("source", "rserve-#{Rserve::VERSION}.gem")
    assert_empty Dir.glob(File.join(home, "gems/rserve-*/**/target")), "what cargo built on the way is dropped"
    installed = Dir.glob(File.join(home, "gems/**/*")).select { |path| File.file?(path) }
    assert_operator installed.sum { |path| File.size(path) }, :<, 15_000_000
  end

  def test_native_gem_is_installed_without_rust_and_serves
    home = install("native", "rserve-#{Rserve::VERSION}-*.gem", "CARGO" => "/nonexistent", "CC" => "/nonexistent")
    assert_empty Dir.glob(File.join(home, "gems/rserve-*/{ext,Cargo*}"))
    libraries = Dir.glob(File.join(home, "gems/rserve-*/lib/rserve/**/*.so"))
    assert_equal [RbConfig::CONFIG["ruby_version"]], (libraries.map { |path| File.basename(File.dirname(path)) })

    File.delete(*libraries)
    output, status = Open3.capture2e(unbundled.merge("GEM_HOME" => home), RbConfig.ruby, File.join(home, "bin/rserve"))
    assert_equal 1, status.exitstatus
    assert_match(/\Arserve: .+ is missing.+gem install rserve --platform ruby -v #{Rserve::VERSION}\n\z/, output)
  end

  def test_used_from_another_folder_by_path
    app = folder
    env = bundle(app, "gem 'rserve', path: #{TestServer::ROOT.dump}\n")
    serve([RbConfig.ruby, "-S", "bundle", "exec", "rserve"], env, chdir: app)
  end

  def test_used_from_another_folder_by_git
    skip "not a git work tree" unless File.exist?(File.join(TestServer::ROOT, ".git"))
    app = folder
    # The crates that rserve depends on were compiled for this Ruby already.
    compiled = File.expand_path(ENV.fetch("CARGO_TARGET_DIR", "target"), TestServer::ROOT)
    cached = { "GEM_HOME" => app, "CARGO_TARGET_DIR" => compiled }
    env = bundle(app, "gem 'rserve', git: #{TestServer::ROOT.dump}\n", options: [], env: cached)
    serve([RbConfig.ruby, "-S", "bundle", "exec", "rserve"], env, chdir: app)
  end

  private

  # Builds the gem, installs it where there is no other, and serves from there.
  #
  # @return [String] the GEM_HOME
  def install(kind, name, env = {})
    home = folder
    packages = folder
    command(unbundled.merge("PACKAGES" => packages), RbConfig.ruby, "-S", "rake", "--quiet", "package:#{kind}")
    gem = Dir.glob(File.join(packages, name)).fetch(0)
    env = unbundled.merge("GEM_HOME" => home, "CARGO_TARGET_DIR" => nil, **env)
    command(env, RbConfig.ruby, "-S", "gem", "install", "--local", "--no-document", gem, chdir: home)
    serve([RbConfig.ruby, File.join(home, "bin/rserve")], env)
    home
  end

  def serve(command, env, chdir: folder)
    File.write(File.join(chdir, "config.ru"), HELLO)
    port = UniquePort.call
    start_process([*command, "-b", "tcp://127.0.0.1:#{port}"], port:, env:, chdir:)
    assert_serving "Hello from elsewhere"
  end
end
