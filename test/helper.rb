# frozen_string_literal: true

# Every test's first line. Lays the ground that Puma's own test files stand on too: the façade under Puma's names,
# `skip_unless`, `UniquePort`, a time limit for each test.
#
# TEST_SERVER       what to test: rserve (the default), or `puma`, the installed gem, to prove the harness itself
# TEST_CASE_TIMEOUT seconds that one test may take on a quiet machine (90): it ends a hang, and is no measure of speed
# TEST_DEBUG        print at the end what the tests noted in $debugging_info

require "fileutils"
require "timeout"
require "tmpdir"
require "tempfile"
require "socket"
require "json"
require "io/wait"
require_relative "helpers/patience"

module TestServer
  ROOT = File.expand_path("..", __dir__)
  PUMA = ENV["TEST_SERVER"] == "puma"

  # The executable that tests start: `puma` itself, or rserve answering to that name.
  def self.puma = PUMA ? Gem.bin_path("puma", "puma") : File.join(ROOT, "gem/puma/bin/puma")
  def self.rserve = PUMA ? puma : File.join(ROOT, "gem/exe/rserve")
  def self.rservectl = PUMA ? Gem.bin_path("puma", "pumactl") : File.join(ROOT, "gem/exe/rservectl")
end

$LOAD_PATH.unshift File.join(TestServer::ROOT, "lib/rserve/compat") unless TestServer::PUMA

require "minitest/autorun"
require "puma"
require "puma/detect"

# What tests and their servers leave in the temporary folder goes when all are done. Other users get in, too.
TEMPORARY = Dir.mktmpdir("rt").tap { |path| File.chmod(0o1777, path) }
ENV["TMPDIR"] = TEMPORARY
Minitest.after_run { FileUtils.rm_rf(TEMPORARY) }

# A thread that dies in a test is a failure of that test, not a line on stderr.
Thread.abort_on_exception = true

$debugging_info = [] # rubocop:disable Style/GlobalVars

Minitest.after_run do
  puts "", "Noted by the tests:", $debugging_info.sort if ENV["TEST_DEBUG"] && $debugging_info.any? # rubocop:disable Style/GlobalVars
end

# A TCP port that is free now, and that no other test of this process was given: the kernel would hand one out again
# before its server listens. Another process may take it first.
module UniquePort
  @given = {}
  @lock = Mutex.new

  def self.call(host = "127.0.0.1")
    loop do
      port = TCPServer.open(host, 0) { |server| server.addr[1] }
      return port if @lock.synchronize { !@given.key?(port) && @given[port] = true }
    end
  end
end

# What this platform lacks is skipped, with the reason.
module TestSkips
  UNIX_SKT_EXIST = Object.const_defined?(:UNIXSocket)
  DARWIN = RUBY_PLATFORM.include?("darwin")

  def skip_unless(ability)
    available =
      case ability
      when :fork then Process.respond_to?(:fork)
      when :unix then UNIX_SKT_EXIST
      when :mri then RUBY_ENGINE == "ruby"
      when :linux then RUBY_PLATFORM.include?("linux")
      else raise ArgumentError, "unknown ability #{ability.inspect}"
      end
    skip "no #{ability} here" unless available
  end

  def skip_unless_signal_exist?(signal)
    name = signal.to_s.delete_prefix("SIG")
    skip "no signal #{name} on #{RUBY_PLATFORM}" unless Signal.list.key?(name)
  end
end

module Minitest
  class Test
    include TestSkips

    def full_name = "#{self.class.name}##{name}"
  end
end

# A test that hangs is ended, and still torn down.
class TimedTestCase < Minitest::Test
  class TookTooLong < Timeout::Error; end

  # Seconds.
  def self.limit = Integer(ENV.fetch("TEST_CASE_TIMEOUT", 90))

  # Raised inside the test's body or teardown, where Minitest records it and goes on to the next step.
  def run(...)
    limit = Patience.for(self.class.limit)
    Timeout.timeout(limit, TookTooLong, "took longer than #{limit} s") { super }
  end
end
