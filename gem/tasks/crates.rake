# frozen_string_literal: true

require "digest"
require "fileutils"
require "json"
require "open3"
require "time"

# The crates that Cargo.lock names: may they be used, are any known to be unsafe, and which of them are in a gem.
module Crates
  ROOT = File.expand_path("../..", __dir__)
  # By their SPDX identifiers: those that a gem under MIT may bring along, compiled.
  LICENCES = %w[0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 ISC MIT Unicode-3.0 Unicode-DFS-2016
                Unlicense Zlib].freeze
  # The oldest versions of these crates that no advisory of https://rustsec.org speaks of, and the last advisory. The
  # whole list is asked by `cargo audit`, where it can be had (.github/workflows/release.yml).
  SAFE = {
    "generator" => ["0.7.0", "RUSTSEC-2020-0151"], "memoffset" => ["0.6.2", "RUSTSEC-2023-0045"],
    "mio" => ["0.8.11", "RUSTSEC-2024-0019"], "nix" => ["0.23.0", "RUSTSEC-2021-0119"],
    "once_cell" => ["1.0.1", "RUSTSEC-2019-0017"], "openssl" => ["0.10.72", "RUSTSEC-2025-0022"],
    "regex" => ["1.5.5", "RUSTSEC-2022-0013"], "shlex" => ["1.3.0", "RUSTSEC-2024-0006"],
    "smallvec" => ["1.6.1", "RUSTSEC-2021-0003"], "thread_local" => ["1.1.4", "RUSTSEC-2022-0006"],
    "tracing" => ["0.1.40", "RUSTSEC-2023-0078"], "tracing-subscriber" => ["0.3.20", "RUSTSEC-2025-0055"]
  }.freeze
  # Of these there are two versions, because crates that are needed want either; they are used while building only.
  TWICE = %w[shlex syn].freeze

  module_function

  # @param options [Array<String>] of `cargo metadata`
  def metadata(*options)
    command = %w[cargo metadata --format-version 1 --locked] + options
    output, status = Open3.capture2(*command, chdir: ROOT)
    abort "#{command.join(" ")}: #{status}" unless status.success?
    JSON.parse(output)
  end

  # @return [Array<Hash>] name, version and checksum of what Cargo.lock names
  def locked(text = File.read(File.join(ROOT, "Cargo.lock")))
    text.split("[[package]]").drop(1).map { |part| part.scan(/^(name|version|checksum) = "(.*)"$/).to_h }
  end

  # @return [Array<String>] what is wrong
  def faults(packages, locked)
    known = packages.map { |it| it.values_at("name", "version") }
    unknown = locked.map { |it| it.values_at("name", "version") } - known
    twice = packages.map { |it| it["name"] }.tally.select { |_, count| count > 1 }.keys - TWICE
    unknown.map { |crate| "#{crate.join(" ")}: cargo metadata does not know it" } +
      twice.map { |name| "#{name}: in more than one version" } + packages.filter_map { |it| fault(it) }
  end

  def fault(package)
    crate = package.values_at("name", "version").join(" ")
    licence = package["license"]
    return "#{crate}: its licence #{licence.inspect} is not one of #{LICENCES.join(", ")}" unless allowed?(licence)

    safe, advisory = SAFE[package["name"]]
    # What follows a `+` does not count.
    old = safe && Gem::Version.new(package["version"][/\A[^+]+/]) < Gem::Version.new(safe)
    "#{crate}: #{advisory}, mended in #{safe}" if old
  end

  # @param expression [String, nil] SPDX, e.g. "(MIT OR Apache-2.0) AND Unicode-3.0"; "MIT/Apache-2.0" of old
  def allowed?(expression)
    words = expression.to_s.gsub("/", " OR ").scan(/[()]|[\w.+-]+/)
    words.any? && any_allowed?(words) && words.empty?
  end

  # Takes what it has read from the front of `words`.
  def any_allowed?(words)
    result = all_allowed?(words)
    result = all_allowed?(words) || result while words.first == "OR" && words.shift
    result
  end

  def all_allowed?(words)
    result = one_allowed?(words)
    result = one_allowed?(words) && result while words.first == "AND" && words.shift
    result
  end

  def one_allowed?(words)
    word = words.shift
    return any_allowed?(words).tap { words.shift } if word == "("

    # An exception gives leave that the licence does not give.
    words.shift(2) if words.first == "WITH"
    LICENCES.include?(word)
  end

  # A CycloneDX document of the gem: the crates that its library is made of, and those that only made it, as "excluded".
  def sbom(metadata, locked, version:, time:)
    packages = metadata["packages"].to_h { |it| [it["id"], it] }
    nodes = metadata["resolve"]["nodes"].to_h { |it| [it["id"], it] }
    top = metadata["packages"].find { |it| it["name"] == "rserve" }["id"]
    linked = reached(nodes, top, [nil])
    used = reached(nodes, top, [nil, "build"])
    sums = locked.to_h { |it| [it.values_at("name", "version"), it["checksum"]] }
    components = (used - [top]).map { |id| component(packages[id], sums, linked.include?(id)) }
    gem = { "type" => "library", "bom-ref" => "pkg:gem/rserve@#{version}", "name" => "rserve", "version" => version,
            "purl" => "pkg:gem/rserve@#{version}", "licenses" => [{ "expression" => "MIT" }] }
    {
      "bomFormat" => "CycloneDX", "specVersion" => "1.5", "version" => 1,
      "metadata" => { "timestamp" => time.utc.iso8601, "component" => gem },
      "components" => [*components, rack].sort_by { |it| it["bom-ref"] },
      "dependencies" => dependencies(nodes, packages, used, top, gem["bom-ref"])
    }
  end

  def component(package, sums, linked)
    sum = sums[package.values_at("name", "version")]
    {
      "type" => "library", "bom-ref" => url(package), "name" => package["name"], "version" => package["version"],
      "scope" => linked ? "required" : "excluded", "purl" => url(package),
      "licenses" => [{ "expression" => package["license"].gsub("/", " OR ") }]
    }.merge(sum ? { "hashes" => [{ "alg" => "SHA-256", "content" => sum }] } : {})
  end

  def rack
    { "type" => "library", "bom-ref" => "pkg:gem/rack", "name" => "rack", "scope" => "required",
      "purl" => "pkg:gem/rack", "licenses" => [{ "expression" => "MIT" }] }
  end

  def dependencies(nodes, packages, used, top, gem)
    reference = ->(id) { id == top ? gem : url(packages[id]) }
    edges = used.map do |id|
      on = needs(nodes[id], [nil, "build"]).map(&reference)
      on << "pkg:gem/rack" if id == top
      { "ref" => reference[id], "dependsOn" => on.sort }
    end
    [*edges, { "ref" => "pkg:gem/rack", "dependsOn" => [] }].sort_by { |it| it["ref"] }
  end

  def url(package) = "pkg:cargo/#{package["name"]}@#{package["version"].gsub("+", "%2B")}"

  # @param kinds [Array] of dependencies: nil for the normal ones, "build"
  # @return [Array<String>] ids of what is needed by `top`, and `top`
  def reached(nodes, top, kinds)
    found = [top]
    found.each { |id| found.concat(needs(nodes[id], kinds) - found) }
  end

  def needs(node, kinds)
    node["deps"].select { |dep| dep["dep_kinds"].any? { |it| kinds.include?(it["kind"]) } }
                .map { |dep| dep["pkg"] }.uniq
  end
end

namespace :crates do
  desc "Check licences and known faults of the crates in Cargo.lock"
  task :check do
    faults = Crates.faults(Crates.metadata("--all-features")["packages"], Crates.locked)
    abort(["Crates that a release may not have:", *faults].join("\n")) if faults.any?
  end

  desc "Write the software bill of materials into pkg/"
  task :sbom do
    metadata = Crates.metadata("--filter-platform", "x86_64-unknown-linux-gnu") # the same crates for every Linux
    text = Crates.sbom(metadata, Crates.locked, version: Packages.spec.version.to_s, time: Time.at(Packages.epoch))
    FileUtils.mkdir_p(Packages.folder)
    path = File.join(Packages.folder, "rserve-#{Packages.spec.version}.cdx.json")
    File.write(path, "#{JSON.pretty_generate(text)}\n")
    puts path
  end
end
