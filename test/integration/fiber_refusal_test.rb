# frozen_string_literal: true

require "open3"
require_relative "../helpers/bundles"
require_relative "../helpers/server_case"

# Fibers that serve requests, where they cannot.
class FiberRefusalTest < ServerCase
  include Bundles

  def test_a_ruby_that_is_too_old
    skip "this Ruby is new enough" if RUBY_VERSION >= "3.3"
    %w[fiber_routes("/ai/*") fiber_scheduler].each do |word|
      line = "#{word[/\w+/]} needs Ruby 3.3, and this is #{RUBY_VERSION}: leave the word out, or run a later Ruby"
      [[], %w[--check], %w[-w 2]].each { |arguments| assert_includes refusal("rserve { #{word} }", *arguments), line }
    end
  end

  def test_a_bundle_without_a_scheduler
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    @env = bundle(folder, "gem 'rack'\ngem 'rserve', path: #{TestServer::ROOT.dump}\n", task: "lock")
    line = 'fiber_routes needs a scheduler for fibers: there is no gem async (add `gem "async"` to the Gemfile'
    [[], %w[--check], %w[-w 2]].each { |it| assert_includes refusal('rserve { fiber_routes "/" }', *it), line }
  end

  # Async 1 has a class of the same name, which takes the reactor that it is a part of.
  def test_a_scheduler_that_is_too_old
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    place = File.dirname(file("async.rb", "module Async; class Scheduler; def initialize(reactor); end; end; end\n"))
    File.write(File.join(place, "async.gemspec"), <<~RUBY)
      Gem::Specification.new("async", "1.30.3") { |gem| gem.summary, gem.authors, gem.require_paths = "-", ["-"], ["."] }
    RUBY
    gemfile = "gem 'rack'\ngem 'async', path: #{place.dump}\ngem 'rserve', path: #{TestServer::ROOT.dump}\n"
    @env = bundle(folder, gemfile, task: "lock")
    line = "fiber_routes needs async 2, and this is 1.30.3: update the gem, or name a class with scheduler:"
    [[], %w[--check], %w[-w 2]].each { |it| assert_includes refusal('rserve { fiber_routes "/" }', *it), line }
  end

  NEEDS_ONE = "class ::NeedsOne\n  %i[block unblock kernel_sleep io_wait fiber].each { |it| define_method(it) {} }\n" \
              "def initialize(reactor) = nil\nend\n"

  def test_a_class_that_schedules_nothing
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    { "Nowhere" => "there is no Nowhere", "String" => "String has no method block",
      "NeedsOne" => "NeedsOne.new needs arguments, and gets none" }.each do |name, line|
      assert_includes refusal("#{NEEDS_ONE}rserve { fiber_scheduler scheduler: #{name.dump} }", "--check"), line
    end
  end

  def test_words_that_make_no_sense
    {
      'fiber_routes "ai"' => 'fiber_routes takes paths that begin with a slash, not "ai"',
      "fiber_routes" => "fiber_routes takes at least one path",
      "fiber_scheduler max: 0" => "fiber_scheduler max: must be at least 1, not 0"
    }.each { |word, line| assert_includes refusal("rserve { #{word} }"), line }
  end

  private

  # @return [String] the one line that it prints
  def refusal(config, *arguments)
    command = @env ? [RbConfig.ruby, "-S", "bundle", "exec", RbConfig.ruby] : [RbConfig.ruby, "-Ilib"]
    command += [TestServer.rserve, "-b", "tcp://127.0.0.1:0", "-C", file("config.rb", config), *arguments]
    out, status = Open3.capture2e(@env || {}, *command, "test/rackup/hello.ru", chdir: TestServer::ROOT)
    assert_equal [1, 1], [status.exitstatus, out.lines.size], out
    out
  end
end
