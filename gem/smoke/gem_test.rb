# frozen_string_literal: true

require "helpers/server_case"
require "helpers/bundles"

# The gem as others get it: built, installed and run away from this folder.
class GemTest < ServerCase
  include Bundles

  # Compiling takes most of it.
  def self.limit = 600

  HELLO = 'run ->(_env) { [200, {}, ["Hello from elsewhere"]] }'

  def test_built_installed_into_an_empty_gem_home_and_run
    home = folder
    gem = File.join(home, "rserve.gem")
    env = unbundled.merge("GEM_HOME" => home, "CARGO_TARGET_DIR" => nil)
    command(env, RbConfig.ruby, "-S", "gem", "build", "--silent", "rserve.gemspec", "-o", gem)
    command(env, RbConfig.ruby, "-S", "gem", "install", "--local", "--no-document", gem, chdir: home)
    serve([RbConfig.ruby, File.join(home, "bin/rserve")], env)
    assert_empty Dir.glob(File.join(home, "gems/rserve-*/**/target")), "what cargo built on the way is dropped"
    installed = Dir.glob(File.join(home, "gems/**/*")).select { |path| File.file?(path) }
    assert_operator installed.sum { |path| File.size(path) }, :<, 15_000_000
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

  def serve(command, env, chdir: folder)
    File.write(File.join(chdir, "config.ru"), HELLO)
    port = UniquePort.call
    start_process([*command, "-b", "tcp://127.0.0.1:#{port}"], port:, env:, chdir:)
    assert_serving "Hello from elsewhere"
  end
end
