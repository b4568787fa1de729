# frozen_string_literal: true

Gem::Specification.new do |spec|
  spec.name = "rserve"
  # The workspace's Cargo.toml is the one place that says the version: what is 1.0.0-rc.1 there is 1.0.0.rc1 here.
  spec.version = File.read(File.join(__dir__, "Cargo.toml"))[/^version = "([^"]+)"/, 1].sub(/-([a-z]+)\.?/, '.\1')
  spec.summary = "A Ruby application server that takes Puma's place, with its core in Rust"
  spec.description = "Same config/puma.rb, same signals, same log lines; HTTP, connections and the cluster's " \
                     "decisions are native code."
  spec.authors = ["The rserve authors"]
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.1"
  # Whoever publishes it says where it lives: `make package HOMEPAGE=URL`.
  spec.metadata = { "rubygems_mfa_required" => "true" }

  spec.bindir = "gem/exe"
  spec.executables = %w[rserve rservectl]
  spec.require_paths = ["lib"]
  # Bundler does not compile a `path:` gem, and RubyGems says again and again that it is not built ("Ignoring rserve
  # …"), although `rake compile` has put the library where it is looked for. So there is nothing to build then.
  library = "lib/rserve/#{RbConfig::CONFIG.fetch("ruby_version")}/rserve.#{RbConfig::CONFIG.fetch("DLEXT")}"
  in_use = defined?(Bundler) && !defined?(Gem::Commands::BuildCommand)
  spec.extensions = ["ext/rserve/extconf.rb"] unless in_use && File.exist?(File.join(__dir__, library))

  # What a Bundler `path:` or `git:` gem and a built gem need alike: the Ruby, the executables, and the whole Rust
  # workspace, because the extension is compiled where the gem is installed.
  spec.files = Dir.chdir(__dir__) do
    Dir["lib/**/*.rb", "sig/*.rbs", "gem/exe/*", "man/*", "completions/*", "ext/**/*.{rb,rs,toml}",
        "Cargo.{toml,lock}", "LICENSE", "README.md", "CHANGELOG.md"]
      .grep_v(%r{/(fuzz|target)/}).select { |path| File.file?(path) }.sort
  end

  spec.add_runtime_dependency "rack", ">= 2.2.4"
end
