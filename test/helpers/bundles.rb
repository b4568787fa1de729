# frozen_string_literal: true

require "bundler"
require "open3"

# Apps with a Gemfile of their own, apart from the bundle that the tests run in.
module Bundles
  # Whether a gem is there at all, in this bundle or not.
  def self.installed?(name) = !version(name).nil?

  # @return [Gem::Version, nil] the newest there is, in this bundle or not
  def self.version(name)
    found = Gem.path.flat_map { |folder| Dir.glob("#{name}-[0-9]*.gemspec", base: File.join(folder, "specifications")) }
    found.map { |file| Gem::Version.new(file[/-(\d[\w.]*)\.gemspec\z/, 1]) }.max
  end

  private

  # Writes a Gemfile and installs it.
  #
  # @param task [String] "lock" where installation would stumble: some of Debian 12's gems are specifications whose
  #   files lie elsewhere, so Bundler believes that they are not there
  # @return [Hash] the environment to run commands of that app in
  def bundle(folder, gemfile, env: {}, task: "install", options: ["--local"])
    path = File.join(folder, "Gemfile")
    File.write(path, gemfile)
    env = unbundled.merge("BUNDLE_GEMFILE" => path, "BUNDLE_SILENCE_DEPRECATIONS" => "true",
                          "BUNDLE_SILENCE_ROOT_WARNING" => "true", **env)
    command(env, RbConfig.ruby, "-S", "bundle", task, *options, chdir: folder)
    env
  end

  # What undoes `bundle exec` for a child: nil unsets a variable.
  def unbundled
    clean = Bundler.unbundled_env
    ENV.keys.to_h { |name| [name, clean[name]] }
  end

  # @return [String] what it printed
  def command(env, *words, chdir: TestServer::ROOT)
    output, status = Open3.capture2e(env, *words, chdir:)
    assert status.success?, "#{words.join(" ")}: #{status}\n#{output}"
    output
  end
end
