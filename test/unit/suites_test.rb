# frozen_string_literal: true

require_relative "../helper"

# What gem/tasks/suites makes of what a test file printed.
class SuitesTest < Minitest::Test
  def setup
    load(File.join(TestServer::ROOT, "gem/tasks/suites")) unless defined?(Suites)
  end

  def test_figures_and_reasons
    output = <<~TEXT
      ATest#test_a [a.rb:1] = 0.00 s = S

        1) Skipped:
      ATest#test_a [a.rb:1]:
      not here: async

        2) Failure:
      ATest#test_b [a.rb:2]:
      no

      5 runs, 9 assertions, 1 failures, 2 errors, 1 skips
    TEXT
    result = Suites.read(output)
    assert_equal [5, 3, 1, ["not here: async"]], result.to_a
    assert_equal "10 runs, 6 failures, 2 skips", (result + result).to_s
    refute_predicate result, :good?
    assert_equal [0, 0, 0, []], Suites.read("LoadError").to_a
  end

  def test_every_test_file_is_in_a_group
    groups = Suites.files([]).except("mission").values.flatten
    files = Dir.glob("{test,gem/smoke}/**/*_test.rb", base: TestServer::ROOT)
    assert_empty files.grep_v(%r{\Atest/rails/}) - groups
  end
end
