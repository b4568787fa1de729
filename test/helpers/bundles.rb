# frozen_string_literal: true

require "bundler"
require "open3"

# Apps with a Gemfile of their own, apart from the bundle that the tests run in.
module Bundles
  # Whether a gem is there with all that it needs, in this bundle or not: what it needs may have been compiled for
  # another Ruby of this Debian.
  def self.installed?(name)
    @installed ||= {}
    return @installed[name] if @installed.key?(name)

    @installed[name] = true # of those that need each other
    file = specifications(name).max_by { |path| version_of(path) }
    needed = file && Gem::Specification.load(file).runtime_dependencies
    @installed[name] = !needed.nil? && needed.all? { |it| installed?(it.name) }
  end

  # @return [Gem::Version, nil] the newest there is, in this bundle or not
  def self.version(name) = specifications(name).map { |path| version_of(path) }.max

  def self.specifications(name)
    Gem.path.flat_map { |folder| Dir.glob("#{folder}/specifications/{,default/}#{name}-[0-9]*.gemspec") }
  end

  def self.version_of(path) = Gem::Version.new(path[/-(\d[\w.]*)\.gemspec\z/, 1])

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
