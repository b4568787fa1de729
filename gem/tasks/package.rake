# frozen_string_literal: true

require "fileutils"
require "rbconfig"
require "rubygems/package"
require "shellwords"
require "tmpdir"

# PACKAGES     folder for the gems ("pkg")
# SUITES       Debian suites whose Rubies the native gem is also to serve, e.g. "trixie sid"
# DEBIAN_ROOT  tool that runs a command in such a suite
# HOMEPAGE     URL of the repository that the gems are published from, for their metadata
module Packages
  ROOT = File.expand_path("../..", __dir__)
  # What a suite needs to compile, and how its Ruby is called.
  BUILD = "build-essential pkg-config libclang-dev libssl-dev"
  RUBIES = { "trixie" => ["ruby", "ruby ruby-dev rake"], "sid" => ["ruby3.4", "ruby3.4 ruby3.4-dev rake"] }.freeze

  module_function

  def folder = File.expand_path(ENV.fetch("PACKAGES", "pkg"), ROOT)

  # Minor versions of Ruby, one after the other.
  MINORS = %w[3.1 3.2 3.3 3.4 4.0].freeze

  # The source gem's, whatever was compiled here.
  def spec
    Gem::Specification.load(File.join(ROOT, "rserve.gemspec")).tap do |source|
      source.extensions = ["ext/rserve/extconf.rb"]
      publish(source, ENV.fetch("HOMEPAGE", ""))
    end
  end

  def publish(spec, homepage)
    return if homepage.empty?

    tree = "#{homepage.chomp("/")}/blob/v#{spec.version}"
    spec.homepage = homepage
    spec.metadata.update("homepage_uri" => homepage, "source_code_uri" => homepage,
                         "changelog_uri" => "#{tree}/CHANGELOG.md", "documentation_uri" => "#{tree}/README.md")
  end

  # Compiles for the suites' Rubies.
  #
  # @return [Array<String>] ABIs of this Ruby and theirs
  def abis
    others = ENV.fetch("SUITES", "").split.map do |suite|
      ruby, packages = RUBIES.fetch(suite)
      root = [*ENV.fetch("DEBIAN_ROOT").shellsplit, suite, "-p", "#{BUILD} #{packages}", "--"]
      system(*root, ruby, "-S", "rake", "--quiet", "compile", exception: true)
      IO.popen([*root, ruby, "-e", 'print RbConfig::CONFIG["ruby_version"]'], &:read)
    end
    [RbConfig::CONFIG.fetch("ruby_version"), *others].sort
  end

  # A gem can only say from which Ruby to which it is: those up to a hole in what was compiled get the source gem.
  #
  # @param abis [Array<String>] e.g. 3.1.0, 3.3.0, 3.4.0
  # @return [Array<String>] those of the newest Rubies without a hole, e.g. 3.3.0, 3.4.0
  def without_hole(abis)
    minors = abis.to_h { |abi| [MINORS.index(abi[/\A\d+\.\d+/]) || raise("no such Ruby in MINORS: #{abi}"), abi] }
    served = minors.keys.max.downto(0).take_while { |index| minors.key?(index) }
    minors.values_at(*served).reverse
  end

  # A gem with the libraries instead of their sources. It is only for the Rubies that it has libraries for, and not for
  # musl.
  def native_spec(abis)
    minors = abis.map { |abi| abi[/\A\d+\.\d+/] }
    spec.tap do |native|
      native.platform = Gem::Platform.new([Gem::Platform.local.cpu, Gem::Platform.local.os, "gnu"])
      native.extensions = []
      native.required_ruby_version = [">= #{minors.first}", "< #{Gem::Version.new("#{minors.last}.0").bump}.dev"]
      native.files = native.files.grep_v(%r{\A(ext/|Cargo\.)}) + abis.map { |abi| library(abi) }
    end
  end

  def library(abi) = "lib/rserve/#{abi}/rserve.#{RbConfig::CONFIG.fetch("DLEXT")}"

  # @return [String] the gem's path
  def build(spec, from: ROOT)
    FileUtils.mkdir_p(folder)
    path = File.join(folder, spec.file_name)
    Dir.chdir(from) { Gem::Package.build(spec, false, false, path) }
    path
  end

  # Lays the files out with their libraries stripped of all symbols but those that Ruby looks for.
  def stage(spec)
    Dir.mktmpdir("rserve-package") do |place|
      spec.files.each do |file|
        FileUtils.mkdir_p(File.join(place, File.dirname(file)))
        FileUtils.cp(File.join(ROOT, file), File.join(place, file))
        system("strip", "--strip-unneeded", File.join(place, file), exception: true) if file.end_with?(".so")
      end
      yield place
    end
  end
end

desc "Build the source gem and the native gem for this platform into pkg/"
task package: %w[package:source package:native]

namespace :package do
  desc "Build the gem that is compiled where it is installed"
  task(:source) { Packages.build(Packages.spec) }

  desc "Build the gem that brings its library, for this Ruby and those of SUITES"
  task native: :compile do
    compiled = Packages.abis
    served = Packages.without_hole(compiled)
    left = compiled - served
    puts "Left to the source gem, because of a hole before #{served.first}: #{left.join(", ")}" if left.any?
    spec = Packages.native_spec(served)
    Packages.stage(spec) { |place| Packages.build(spec, from: place) }
  end
end
