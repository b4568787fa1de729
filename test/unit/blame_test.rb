# frozen_string_literal: true

require_relative "../helper"
require_relative "../helpers/bundles"
require "rserve/process/blame"

class BlameTest < Minitest::Test
  include Bundles

  def test_a_gem_may_be_a_symbolic_link
    Dir.mktmpdir do |folder|
      home, store = %w[home store].map { |name| File.join(File.realpath(folder), name) }
      FileUtils.mkdir_p(["#{home}/gems", "#{home}/specifications", "#{store}/shop-1/lib"])
      File.symlink("#{store}/shop-1", "#{home}/gems/shop-1")
      File.write("#{store}/shop-1/lib/shop.rb", "raise 'closed'\n")
      File.write("#{home}/specifications/shop-1.gemspec", <<~RUBY)
        Gem::Specification.new("shop", "1") { |gem| gem.summary = gem.author = "x" }
      RUBY
      code = "gem 'shop'; begin; load '#{store}/shop-1/lib/shop.rb'; rescue => e; puts Rserve::Blame.frames(e); end"
      out, status = Open3.capture2e(unbundled.merge("GEM_PATH" => home), RbConfig.ruby, "-I#{TestServer::ROOT}/lib",
                                    "-rrserve/process/blame", "-e", code)
      assert status.success?, out
      assert_empty out.strip, "it is no line of the operator's"
    end
  end
end
