# frozen_string_literal: true

require "open3"
require "rake"
require "rubygems/user_interaction"
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

  def test_a_native_gem_is_for_one_c_library
    platform = Packages.native_spec(%w[3.1.0]).platform
    assert_operator platform, :===, Gem::Platform.local
    refute_operator platform, :===, Gem::Platform.new([Gem::Platform.local.cpu, "linux", "musl"])
  end

  def test_a_native_gem_is_for_the_platform_that_is_named
    %w[aarch64-linux-gnu aarch64-linux-musl x86_64-linux-musl].each do |name|
      with_env("PLATFORM" => name) do
        spec = Packages.native_spec(%w[3.3.0 3.4.0])
        assert_equal name, spec.platform.to_s
        assert_equal "rserve-#{Rserve::VERSION}-#{name}.gem", spec.file_name
        assert_equal %w[lib/rserve/3.3.0/rserve.so lib/rserve/3.4.0/rserve.so], spec.files.grep(/\.so\z/)
      end
    end
  end

  def test_a_library_of_another_platform_goes_into_no_gem
    gnu, musl, arm = [%w[x86_64 linux gnu], %w[x86_64 linux musl], %w[aarch64 linux gnu]].map do |name|
      Gem::Platform.new(name)
    end
    Dir.mktmpdir do |folder|
      path = File.join(folder, "rserve.so")
      { [62, "libc.so.6"] => gnu, [62, "libc.musl-x86_64.so.1"] => musl, [183, "libc.so.6"] => arm }
        .each do |(machine, wants), platform|
          File.binwrite(path, ["\x7fELF".b, "\0" * 14, [machine].pack("v"), "\0#{wants}\0"].join)
          assert_equal([platform], [gnu, musl, arm].select { |it| Packages.fits?(path, it) })
        end
      File.binwrite(path, "\xcf\xfa\xed\xfe, libc.so.6")
      refute Packages.fits?(path, gnu)
    end
  end

  def test_metadata
    assert_equal({ "rubygems_mfa_required" => "true" }, Packages.spec.metadata)
    spec = Packages.spec.tap { |gem| Packages.publish(gem, "https://example.org/rserve") }
    assert_equal "https://example.org/rserve", spec.homepage
    assert_equal %w[changelog_uri documentation_uri homepage_uri rubygems_mfa_required source_code_uri],
                 spec.metadata.keys.sort
    assert_equal "https://example.org/rserve/blob/v#{spec.version}/CHANGELOG.md", spec.metadata["changelog_uri"]
  end

  def test_the_version_is_that_of_the_crates_as_rubygems_writes_it
    assert_equal Rserve::VERSION, Packages.spec.version.to_s
    { "1.0.0" => "1.0.0", "1.0.0-rc.1" => "1.0.0.rc1", "2.0.0-beta.12" => "2.0.0.beta12" }.each do |cargo, ruby|
      Dir.mktmpdir do |folder|
        FileUtils.cp(File.join(ROOT, "rserve.gemspec"), folder)
        File.write(File.join(folder, "Cargo.toml"), "[workspace.package]\nversion = \"#{cargo}\"\n")
        assert_equal ruby, Gem::Specification.load(File.join(folder, "rserve.gemspec")).version.to_s
      end
    end
  end

  # The native one's library takes minutes: `make reproducible`.
  def test_the_source_gem_is_the_same_whenever_and_by_whomever_it_is_built
    gems = [0o022, 0o077].map do |umask|
      Dir.mktmpdir do |folder|
        made_by(umask) { build_source_gem(folder) }
      end
    end
    assert_equal(*gems)
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

  private

  def made_by(umask)
    before = File.umask(umask)
    yield
  ensure
    File.umask(before)
  end

  # @return [String] what it is made of
  def build_source_gem(folder)
    spec = Packages.spec
    spec.files.each do |file|
      copy = File.join(folder, "clone", file)
      FileUtils.mkdir_p(File.dirname(copy))
      IO.copy_stream(File.join(ROOT, file), copy) # dated now, with the umask's mode
    end
    with_env("PACKAGES" => File.join(folder, "pkg")) do
      Gem::DefaultUserInteraction.use_ui(Gem::SilentUI.new) do
        return File.binread(Packages.build(spec, from: File.join(folder, "clone")))
      end
    end
  end

  def with_env(variables)
    before = ENV.slice(*variables.keys)
    ENV.update(variables)
    yield
  ensure
    variables.each_key { |name| ENV[name] = before[name] }
  end
end
