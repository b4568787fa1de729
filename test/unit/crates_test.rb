# frozen_string_literal: true

require "rake"
require_relative "../helper"

# What `make lint` and `make sbom` make of the crates; the cases are made up.
class CratesTest < Minitest::Test
  def setup
    load File.join(TestServer::ROOT, "gem/tasks/crates.rake") unless defined?(Crates)
  end

  def test_licences
    {
      "MIT" => true, "MIT OR Apache-2.0" => true, "Apache-2.0/MIT" => true, "GPL-3.0-only OR MIT" => true,
      "(MIT OR Apache-2.0) AND Unicode-3.0" => true, "Unlicense OR MIT" => true,
      "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT" => true, "Apache-2.0 WITH LLVM-exception" => true,
      "GPL-3.0-only" => false, "MIT AND GPL-3.0-only" => false, "(GPL-2.0 OR MPL-2.0) AND MIT" => false,
      "MIT)" => false, "OR MIT" => false, "LicenseRef-own" => false, "" => false, nil => false
    }.each { |expression, allowed| assert_equal allowed, Crates.allowed?(expression), expression.inspect }
  end

  def test_what_a_release_may_not_have_is_told
    packages = [crate("fine", "1.0.0"), crate("openssl", "0.10.71"), crate("copyleft", "1.0.0", "GPL-3.0-only"),
                crate("silent", "1.0.0", nil), crate("pair", "1.0.0"), crate("pair", "2.0.0"),
                crate("wasi", "0.11.1+wasi-snapshot-preview1"), crate("syn", "1.0.0"), crate("syn", "2.0.0")]
    locked = packages.map { |it| it.slice("name", "version") } << { "name" => "missing", "version" => "3.0.0" }
    faults = Crates.faults(packages, locked)
    assert_equal ["copyleft 1.0.0", "missing 3.0.0", "openssl 0.10.71", "pair", "silent 1.0.0"],
                 faults.map { |line| line[/\A[^:]+/] }.sort
    assert_includes faults, "openssl 0.10.71: RUSTSEC-2025-0022, mended in 0.10.72"
  end

  def test_a_bill_of_materials_tells_what_is_in_the_library_and_what_made_it
    bill = Crates.sbom(metadata, [{ "name" => "linked", "version" => "1.0.0", "checksum" => "ab" * 32 }],
                       version: "1.0.0.rc1", time: Time.at(0))
    assert_equal %w[CycloneDX 1.5], bill.values_at("bomFormat", "specVersion")
    assert_equal({ "timestamp" => "1970-01-01T00:00:00Z", "component" => "rserve" },
                 bill["metadata"].merge("component" => bill.dig("metadata", "component", "name")))
    assert_equal({ "builds" => "excluded", "linked" => "required", "rack" => "required" },
                 bill["components"].to_h { |it| it.values_at("name", "scope") })
    linked = bill["components"].find { |it| it["name"] == "linked" }
    assert_equal [{ "alg" => "SHA-256", "content" => "ab" * 32 }], linked["hashes"]
    assert_equal [{ "expression" => "MIT OR Apache-2.0" }], linked["licenses"]
    assert_equal({ "ref" => "pkg:gem/rserve@1.0.0.rc1",
                   "dependsOn" => %w[pkg:cargo/builds@1.0.0 pkg:cargo/linked@1.0.0 pkg:gem/rack] },
                 bill["dependencies"].find { |it| it["ref"].start_with?("pkg:gem/rserve") })
  end

  private

  def crate(name, version, license = "MIT/Apache-2.0")
    { "id" => "#{name} #{version}", "name" => name, "version" => version, "license" => license }
  end

  def metadata
    names = %w[rserve linked builds tests]
    needs = { "rserve" => [["linked", nil], %w[builds build], %w[tests dev]] }
    nodes = names.map do |name|
      deps = needs.fetch(name, []).map { |to, kind| { "pkg" => "#{to} 1.0.0", "dep_kinds" => [{ "kind" => kind }] } }
      { "id" => "#{name} 1.0.0", "deps" => deps }
    end
    { "packages" => names.map { |name| crate(name, "1.0.0") }, "resolve" => { "nodes" => nodes } }
  end
end
