# frozen_string_literal: true

require "json"

# The app of PAGES_APP, a rackup file, and at /gc what this process's collector has done. That answer takes a moment, so
# that several at a time come from several processes.
app = [*Rack::Builder.parse_file(ENV.fetch("PAGES_APP"))].first
collector = lambda do
  sleep 0.1
  GC.stat.slice(:major_gc_count, :time).merge(pid: Process.pid)
end

run(lambda do |env|
  next app.call(env) unless env["PATH_INFO"] == "/gc"

  said = JSON.generate(collector.call)
  [200, { "content-type" => "application/json", "content-length" => said.bytesize.to_s }, [said]]
end)
