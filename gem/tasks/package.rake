# frozen_string_literal: true

require "fileutils"
require "rbconfig"
require "rubygems/package"
require "shellwords"
require "tmpdir"

# PACKAGES     folder for the gems ("pkg")
# SUITES       Debian suites whose Rubies the native gem is also to serve, e.g. "trixie sid"
# DEBIAN_ROOT  tool that runs a command in such a suite
module Packages
  ROOT = File.expand_path("../..", __dir__)
  # What a suite needs to compile, and how its Ruby is called.
  BUILD = "build-essential pkg-config libclang-dev libssl-dev"
  RUBIES = { "trixie" => ["ruby", "ruby ruby-dev rake"], "sid" => ["ruby3.4", "ruby3.4 ruby3.4-dev rake"] }.freeze

  module_function

  def folder = File.expand_path(ENV.fetch("PACKAGES", "pkg"), ROOT)

  def spec = Gem::Specification.load(File.join(ROOT, "rserve.gemspec"))

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

  # A gem with the libraries instead of their sources. It is only for the Rubies that it has libraries for.
  def native_spec(abis)
    minors = abis.map { |abi| Gem::Version.new(abi.split(".").first(2).join(".")) }
    spec.tap do |native|
      native.platform = Gem::Platform.local.then { |here| "#{here.cpu}-#{here.os}" }
      native.extensions = []
      native.required_ruby_version = [">= #{minors.min}", "< #{minors.max.bump}.dev"]
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
    spec = Packages.native_spec(Packages.abis)
    Packages.stage(spec) { |place| Packages.build(spec, from: place) }
  end
end
