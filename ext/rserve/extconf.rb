# frozen_string_literal: true

# Writes the Makefile with which RubyGems (`all`, `install`, `clean`) and `rake compile` (`all`) build the extension.
#
# Not RubyGems' own Cargo builder, which installs to the wrong path on RubyGems 3.3, and not mkmf, which would only
# wrap one cargo call. `DESTDIR` and `sitearchdir` may be given to make, as RubyGems does.
#
# CARGO        the cargo to run (found on PATH)
# CARGO_TARGET_DIR  where cargo builds; one folder per Ruby ABI is made under it, because rb-sys' build for one Ruby
#              is not valid for another. The default is `target` beside the Makefile, and dropped by `install`
#              and `clean`; a folder of the user's own is not.

require "rbconfig"
require_relative "../../lib/rserve/platform"

unless Rserve::Platform.runs_here?
  puts "#{Rserve::Platform.remark}: nothing is built. See lib/rserve/platform.rb."
  File.write("Makefile", "all install clean:\n\t@true\n.PHONY: all install clean\n")
  exit
end

abi = RbConfig::CONFIG.fetch("ruby_version")
library = "rserve.#{RbConfig::CONFIG.fetch("DLEXT")}"
workspace = File.expand_path("../..", __dir__)
target = File.expand_path(abi, ENV.fetch("CARGO_TARGET_DIR", "target"))
drop = ENV.key?("CARGO_TARGET_DIR") ? "@true" : "rm -rf target"
cargo = ENV.fetch("CARGO", "cargo")
built = RbConfig::CONFIG.fetch("host_os").include?("darwin") ? "librserve.dylib" : "librserve.so"

# A library names the files that its panics come from: not those of whoever built it, but the same everywhere.
home = File.expand_path(ENV.fetch("CARGO_HOME", "~/.cargo"))
flags = [ENV.fetch("CARGO_BUILD_RUSTFLAGS", nil), ("--remap-path-prefix=#{home}=/cargo" unless home.match?(/[\s']/))]
# With musl Rust links the C library into what it makes, unless told: Ruby has it already.
flags << "-Ctarget-feature=-crt-static" if RbConfig::CONFIG.fetch("host_os").include?("musl")

unless system(cargo, "--version", out: File::NULL, err: File::NULL)
  abort "rserve: no `#{cargo}` on PATH. Building this gem needs a Rust toolchain (1.88 or newer), a C compiler, " \
        "pkg-config, and the headers of Ruby, OpenSSL and libclang."
end

File.write("Makefile", <<~MAKEFILE)
  DESTDIR =
  sitearchdir = #{RbConfig::CONFIG.fetch("sitearchdir")}
  TARGET = #{target}
  LIBRARY = $(TARGET)/release/#{library}
  INSTALLED = $(DESTDIR)$(sitearchdir)/rserve/#{abi}

  .PHONY: all install clean
  all:
  \tcd #{workspace} && RUBY=#{RbConfig.ruby} CARGO_TARGET_DIR=$(TARGET) CARGO_BUILD_RUSTFLAGS='#{flags.compact.join(" ")}' \\
  \t  #{cargo} build --release --locked -p rserve
  \tcp -f $(TARGET)/release/#{built} $(LIBRARY)

  install: all
  \tmkdir -p $(INSTALLED)
  \tinstall -m 755 $(LIBRARY) $(INSTALLED)/#{library}
  \t#{drop}

  clean:
  \t#{drop}
MAKEFILE
