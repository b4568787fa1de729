# frozen_string_literal: true

require "rake/testtask"

namespace :test do
  %i[unit integration http system smoke].each do |kind|
    Rake::TestTask.new(kind) do |test|
      test.description = "Run the #{kind} tests"
      test.libs = %w[lib test]
      test.pattern = kind == :smoke ? "gem/smoke/**/*_test.rb" : "test/#{kind}/**/{test_*,*_test}.rb"
      test.warning = false
    end
  end
end

Rake::TestTask.new("test:rails") do |test|
  test.description = "Run the tests with Rails and other frameworks"
  test.libs = %w[lib test]
  test.pattern = "test/{integration/{rails,rails_*,frameworks}_test.rb,system/*_test.rb}"
  test.warning = false
end

desc "Run every Ruby test"
task test: %w[test:unit test:integration test:http test:system test:smoke]
