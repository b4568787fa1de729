# frozen_string_literal: true

require_relative "../helper"

# The figures in docs/http.md are those of the code, and its advisories those that have cases.
class HttpDocumentTest < Minitest::Test
  DOCUMENT = File.read(File.join(TestServer::ROOT, "docs/http.md"))

  def test_limits
    defaults = source("ext/rserve-http1/src/limits.rs")[/fn default\(\).*\z/m]
    products = defaults.scan(/(\w+): ([\d *_]+),/).to_h
    limits = products.transform_values { |product| product.delete("_").split("*").map(&:to_i).inject(:*) }
    documented = DOCUMENT.scan(/^\|.*\| (\d+)(?: octets)? \| `(\w+)` \|$/).to_h(&:reverse)
    assert_equal limits, documented.transform_values(&:to_i)
  end

  def test_limits_of_http2
    defaults = source("ext/rserve-http2/src/limits.rs")[/fn default\(\).*\z/m].scan(/(\w+): ([\d *_]+),/).to_h
    limits = defaults.transform_values { |product| product.delete("_").split("*").map(&:to_i).inject(:*) }
    documented = source("docs/http2.md").scan(/^\|.*\| (\d+)(?: octets)? \| `(\w+)` \|$/).to_h(&:reverse)
    assert_equal limits, documented.transform_values(&:to_i)
  end

  def test_advisories
    cases = source("test/http/cases/advisories.rb").scan(/CVE-\d+-\d+/).uniq
    assert_equal cases.sort, DOCUMENT.scan(/CVE-\d+-\d+/).sort
  end

  private

  def source(path) = File.read(File.join(TestServer::ROOT, path))
end
