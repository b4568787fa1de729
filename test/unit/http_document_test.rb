# frozen_string_literal: true

require_relative "../helper"

# The figures in docs/http.md are those of the code, and its advisories those that have cases.
class HttpDocumentTest < Minitest::Test
  DOCUMENT = File.read(File.join(TestServer::ROOT, "docs/http.md"))

  def test_limits
    defaults = source("ext/rserve-http1/src/limits.rs")[/fn default\(\).*\z/m]
    limits = defaults.scan(/(\w+): ([\d *_]+),/).to_h do |name, product|
      [name, product.delete("_").split("*").map(&:to_i).inject(:*)]
    end
    documented = DOCUMENT.scan(/^\|.*\| (\d+)(?: octets)? \| `(\w+)` \|$/).to_h { |limit, name| [name, limit.to_i] }
    assert_equal limits, documented
  end

  def test_advisories
    cases = source("test/http/cases/advisories.rb").scan(/CVE-\d+-\d+/).uniq
    assert_equal cases.sort, DOCUMENT.scan(/CVE-\d+-\d+/).sort
  end

  private

  def source(path) = File.read(File.join(TestServer::ROOT, path))
end
