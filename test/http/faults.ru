# frozen_string_literal: true

# Serves the faults of faults/*.rb by their path, `/closed/NAME` for how often a body was closed, and anything else.

require "pathname"
require "socket"
require "stringio"
require "tempfile"
require "timeout"
require "tmpdir"
require "English"
require_relative "fault_table"

faults = FaultTable.load

# Every collection compacts, and each request finds the heap moved as far as it goes.
compacts = ENV.key?("FAULTS_COMPACT")
GC.auto_compact = true if compacts

run lambda { |env|
  path = env["PATH_INFO"]
  before = Thread.current[:before]
  Thread.current[:before] = path
  raise "#{before} left #{$ERROR_INFO.inspect} behind" if $ERROR_INFO

  GC.verify_compaction_references(toward: :empty, double_heap: false) if compacts

  if (fault = faults[path])
    env["test.fault"] = fault.name
    fault.run.call(env)
  elsif path.start_with?("/closed")
    name = faults.fetch(path.delete_prefix("/closed")).name
    [200, { "content-type" => "text/plain" }, [FaultTable::Body::COUNTS[name].to_s]]
  else
    [200, { "content-type" => "text/plain" }, ["probe"]]
  end
}
