# frozen_string_literal: true

require "fileutils"
require "rbconfig"

abi = RbConfig::CONFIG.fetch("ruby_version")
library = "lib/rserve/#{abi}/rserve.#{RbConfig::CONFIG.fetch("DLEXT")}"
extconf = File.expand_path("../../ext/rserve/extconf.rb", __dir__)
build = File.expand_path(abi, ENV.fetch("CARGO_TARGET_DIR", "target"))

desc "Compile the extension for this Ruby into #{library}"
task :compile do
  FileUtils.mkdir_p(build)
  Dir.chdir(build) do
    sh({ "CARGO_TARGET_DIR" => File.dirname(build) }, FileUtils::RUBY, extconf, verbose: false)
    sh "make", "-s", "all", verbose: false
  end
  # Renamed into place: a running server has the old file mapped, and writing into it would crash that server.
  FileUtils.mkdir_p(File.dirname(library))
  FileUtils.cp(File.join(build, "release", File.basename(library)), "#{library}.new")
  File.rename("#{library}.new", library)
  puts "#{library} is ready"
end

desc "Remove what was compiled for this Ruby"
task :clean do
  FileUtils.rm_rf([File.dirname(library), build])
end
