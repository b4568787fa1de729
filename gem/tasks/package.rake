# frozen_string_literal: true

require "fileutils"
require "open3"
require "rbconfig"
require "rubygems/package"
require "shellwords"
require "tmpdir"

# PACKAGES     folder for the gems ("pkg")
# PLATFORM     of the native gem (this one's), e.g. aarch64-linux-musl, for `package:pack`
# LIBRARIES    folder of the native gem's libraries, by ABI ("lib/rserve"), for `package:pack`
# STRIP        strip(1) that knows the platform's libraries
# SUITES       Debian suites whose Rubies the native gem is also to serve, e.g. "trixie sid"
# DEBIAN_ROOT  tool that runs a command in such a suite
# SOURCE_DATE_EPOCH  seconds since 1970 that the gems' files are dated by (those of the last commit)
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
    Gem::Specification.load(File.join(ROOT, "rserve.gemspec")).dup.tap do |source| # RubyGems keeps what it has loaded
      source.extensions = ["ext/rserve/extconf.rb"]
      publish(source, ENV.fetch("HOMEPAGE", ""))
    end
  end

  def publish(spec, homepage)
    return if homepage.empty?

    tree = "#{homepage.chomp("/")}/blob/v#{spec.version}"
    spec.homepage = homepage
    spec.metadata = spec.metadata.merge("homepage_uri" => homepage, "source_code_uri" => homepage,
                                        "changelog_uri" => "#{tree}/CHANGELOG.md",
                                        "documentation_uri" => "#{tree}/README.md")
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

  # @return [Gem::Platform] with the C library, which a gem's library is made for
  def platform
    given = ENV.fetch("PLATFORM", "")
    return Gem::Platform.new(given.split("-")) unless given.empty? # as a String older RubyGems drop the "gnu" of it

    local = Gem::Platform.local
    Gem::Platform.new([local.cpu, local.os, RbConfig::CONFIG.fetch("host_os").include?("musl") ? "musl" : "gnu"])
  end

  # A gem with the libraries instead of their sources. It is only for the Rubies that it has libraries for, and for one
  # C library.
  def native_spec(abis)
    minors = abis.map { |abi| abi[/\A\d+\.\d+/] }
    spec.tap do |native|
      native.platform = platform
      native.extensions = []
      native.required_ruby_version = [">= #{minors.first}", "< #{Gem::Version.new("#{minors.last}.0").bump}.dev"]
      native.files = native.files.grep_v(%r{\A(ext/|Cargo\.)}) + abis.map { |abi| library(abi) }
    end
  end

  # What an ELF header says of its machine.
  MACHINES = { "x86_64" => 62, "aarch64" => 183 }.freeze

  # @return [Array<String>] ABIs that there are libraries for
  def compiled = Dir.children(libraries).grep(/\A\d/).select { |abi| File.exist?(compiled_library(abi)) }.sort

  def libraries = File.expand_path(ENV.fetch("LIBRARIES", "lib/rserve"), ROOT)

  def compiled_library(abi) = File.join(libraries, abi, File.basename(library(abi)))

  # Is a library made for the platform?
  def fits?(path, platform)
    octets = File.binread(path)
    # It names the C library that it wants: libc.so.6 is glibc's, musl's is libc.so or libc.musl-x86_64.so.1.
    c_library = octets.include?("libc.so.6\0") ? "gnu" : "musl"
    return false unless octets.start_with?("\x7fELF")

    octets[18, 2].unpack1("v") == MACHINES[platform.cpu] && c_library == platform.version
  end

  def library(abi) = "lib/rserve/#{abi}/rserve.#{RbConfig::CONFIG.fetch("DLEXT")}"

  def build_native(compiled)
    served = without_hole(compiled)
    left = compiled - served
    puts "Left to the source gem, because of a hole before #{served.first}: #{left.join(", ")}" if left.any?
    wrong = served.map { |abi| compiled_library(abi) }.reject { |path| fits?(path, platform) }
    abort "Not for #{platform}: #{wrong.join(", ")}" if wrong.any?
    build(native_spec(served))
  end

  # The same files make the same gem, octet by octet, by whomever and whenever it is built.
  #
  # @param from [String] where the files are
  # @return [String] the gem's path
  def build(spec, from: ROOT)
    FileUtils.mkdir_p(folder)
    path = File.join(folder, spec.file_name)
    given = ENV.fetch("SOURCE_DATE_EPOCH", nil)
    ENV["SOURCE_DATE_EPOCH"] = epoch.to_s
    stage(spec, from) { |place| Dir.chdir(place) { Gem::Package.build(spec, false, false, path) } }
    path
  ensure
    ENV["SOURCE_DATE_EPOCH"] = given
  end

  # @return [Integer] seconds; without git 0
  def epoch
    given = ENV.fetch("SOURCE_DATE_EPOCH", "")
    return Integer(given) unless given.empty?

    commit, status = Open3.capture2("git", "log", "-1", "--format=%ct", chdir: ROOT, err: File::NULL)
    status.success? ? Integer(commit) : 0
  rescue Errno::ENOENT
    0
  end

  # Of all symbols only those that Ruby looks for are left, and not the linker's build id: it is made of names that hang
  # on the folder of the build, and are stripped.
  STRIP = %w[--strip-unneeded --remove-section=.note.gnu.build-id].freeze

  # Lays the files out, with modes that no umask has changed, and libraries stripped.
  def stage(spec, from)
    Dir.mktmpdir("rserve-package") do |place|
      spec.files.each do |file|
        staged = File.join(place, file)
        FileUtils.mkdir_p(File.dirname(staged))
        abi = file[%r{\Alib/rserve/(\d[^/]*)/}, 1]
        FileUtils.cp(abi ? compiled_library(abi) : File.join(from, file), staged)
        system(ENV.fetch("STRIP", "strip"), *STRIP, staged, exception: true) if file.end_with?(".so")
        File.chmod(file.start_with?("#{spec.bindir}/") || file.end_with?(".so") ? 0o755 : 0o644, staged)
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
  task(native: :compile) { Packages.build_native(Packages.abis) }

  desc "Build the native gem for PLATFORM of the libraries that are in lib/rserve"
  task(:pack) { Packages.build_native(Packages.compiled) }
end
