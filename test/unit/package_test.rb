# frozen_string_literal: true

require "open3"
require "rake"
require_relative "../helper"
require_relative "../helpers/bundles"

# What the gems say of themselves: where they may be installed, and where they come from.
class PackageTest < Minitest::Test
  include Bundles

  ROOT = TestServer::ROOT

  def setup
    load File.join(ROOT, "gem/tasks/package.rake") unless defined?(Packages)
  end

  def test_a_native_gem_is_for_the_rubies_that_it_has_a_library_for
    {
      %w[3.1.0] => [%w[3.1.0], %w[3.1.0 3.1.9], %w[3.0.9 3.2.0.dev 3.2.0 3.3.1 4.0.0]],
      %w[3.1.0 3.3.0 3.4.0] => [%w[3.3.0 3.4.0], %w[3.3.0 3.4.9], %w[3.1.9 3.2.5 3.5.0.dev 4.0.0]],
      %w[3.3.0 3.4.0 4.0.0] => [%w[3.3.0 3.4.0 4.0.0], %w[3.3.0 4.0.1], %w[3.2.9 4.1.0]]
    }.each do |abis, (served, good, bad)|
      assert_equal served, Packages.without_hole(abis)
      required = Packages.native_spec(served).required_ruby_version
      good.each { |ruby| assert required.satisfied_by?(Gem::Version.new(ruby)), "#{abis}: #{ruby}" }
      bad.each { |ruby| refute required.satisfied_by?(Gem::Version.new(ruby)), "#{abis}: #{ruby}" }
    end
  end

  def test_a_native_gem_is_not_for_musl
    platform = Packages.native_spec(%w[3.1.0]).platform
    assert_operator platform, :===, Gem::Platform.local
    refute_operator platform, :===, Gem::Platform.new([Gem::Platform.local.cpu, "linux", "musl"])
  end

  def test_metadata
    assert_equal({ "rubygems_mfa_required" => "true" }, Packages.spec.metadata)
    spec = Packages.spec.tap { |gem| Packages.publish(gem, "https://example.org/rserve") }
    assert_equal "https://example.org/rserve", spec.homepage
    assert_equal %w[changelog_uri documentation_uri homepage_uri rubygems_mfa_required source_code_uri],
                 spec.metadata.keys.sort
    assert_equal "https://example.org/rserve/blob/v#{spec.version}/CHANGELOG.md", spec.metadata["changelog_uri"]
  end

  # RubyGems says so whenever something is looked for that no gem has, as the Rails console does.
  def test_a_compiled_path_gem_is_not_ignored
    Dir.mktmpdir do |folder|
      env = bundle(folder, "gem 'rserve', path: #{ROOT.dump}\n")
      output, status = Open3.capture2e(env, RbConfig.ruby, "-S", "bundle", "exec", RbConfig.ruby, "-e",
                                       "Gem::Specification.find_by_path('nowhere'); require 'rserve'; print 'loaded'",
                                       chdir: folder)
      assert_predicate status, :success?, output
      assert_equal "loaded", output
    end
  end

  def test_the_source_gem_is_compiled_where_it_is_installed_however_it_is_built
    assert_equal ["ext/rserve/extconf.rb"], Packages.spec.extensions
    Dir.mktmpdir do |folder|
      path = File.join(folder, "rserve.gem")
      output, status = Open3.capture2e(RbConfig.ruby, "-S", "bundle", "exec", "gem", "build", "-o", path,
                                       "rserve.gemspec", chdir: ROOT)
      assert_predicate status, :success?, output
      assert_equal ["ext/rserve/extconf.rb"], Gem::Package.new(path).spec.extensions
    end
  end
end
