# frozen_string_literal: true

require "json"
require "open3"
require "tempfile"

# The client: wrk on one core, for a number of seconds.
class Load
  def initialize(core:, seconds:, warm_up:)
    @core = core
    @seconds = seconds
    @warm_up = warm_up
  end

  # @return [Hash] rate (requests/s), cpu (server's processor time for a request, in µs), switches (context switches of
  #   the server for a request), p50, p99, p999 (ms), errors (failed requests), memory (bytes)
  def measure(server, workload)
    wrk(server, workload, @warm_up) if @warm_up.positive?
    before = server.usage
    result = wrk(server, workload, @seconds)
    used = server.usage - before
    requests = result.fetch("requests").to_f
    abort "No request was answered" if requests.zero?
    { rate: requests / result.fetch("seconds"), cpu: used.cpu / requests * 1e6, switches: used.switches / requests,
      p50: result.fetch("p50"), p99: result.fetch("p99"), p999: result.fetch("p999"),
      errors: result.fetch("errors"), memory: server.memory }
  end

  private

  def wrk(server, workload, seconds)
    Tempfile.create(["wrk", ".lua"]) do |script|
      script.write(lua(workload))
      script.close
      url = "http://127.0.0.1:#{server.port}#{workload[:path]}"
      output, status = Open3.capture2e("taskset", "-c", @core, "wrk", "-t1", "-c#{workload[:connections]}",
                                       "-d#{seconds}s", "-s", script.path, url)
      abort "wrk failed:\n#{output}" unless status.success? && output =~ /^RESULT (.*)/
      JSON.parse(Regexp.last_match(1))
    end
  end

  def lua(workload)
    headers = workload[:headers].merge(workload[:close] ? { "Connection" => "close" } : {})
    <<~LUA
      wrk.method = #{workload[:method].to_json}
      #{"wrk.body = #{workload[:body].to_json}" if workload[:body]}
      #{headers.map { |name, value| "wrk.headers[#{name.to_json}] = #{value.to_json}" }.join("\n")}
      done = function(summary, latency, requests)
        local e = summary.errors
        io.write(string.format('RESULT {"requests":%d,"seconds":%f,"errors":%d,"p50":%f,"p99":%f,"p999":%f}\\n',
          summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
          latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
      end
    LUA
  end
end
