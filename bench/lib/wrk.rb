# frozen_string_literal: true

require "json"
require "open3"
require "tempfile"

# A client that asks as fast as it is answered, on a number of connections: wrk.
class Wrk
  ENVIRONMENT = { "OPENSSL_CONF" => File.expand_path("openssl.cnf", __dir__) }.freeze
  private_constant :ENVIRONMENT

  # @return [Hash] requests, seconds, errors (failed requests), p50, p99, p999 (ms)
  def run(server, workload, seconds)
    Tempfile.create(["wrk", ".lua"]) do |script|
      script.write(lua(workload))
      script.close
      output, status = Open3.capture2e(ENVIRONMENT, "wrk", "-t1", "-c#{workload[:connections]}", "-d#{seconds}s",
                                       "-s", script.path, "#{server.url}#{workload[:path]}")
      abort "wrk failed:\n#{output}" unless status.success? && output =~ /^RESULT (.*)/
      JSON.parse(Regexp.last_match(1), symbolize_names: true)
    end
  end

  private

  def lua(workload)
    headers = workload[:headers].merge(workload[:close] ? { "Connection" => "close" } : {})
    <<~LUA
      wrk.method = #{workload[:method].to_json}
      #{"wrk.body = #{workload[:body].to_json}" if workload[:body]}
      #{headers.map { |name, value| "wrk.headers[#{name.to_json}] = #{value.to_json}" }.join("\n")}
      #{workload[:lua]}
      done = function(summary, latency, requests)
        local e = summary.errors
        io.write(string.format('RESULT {"requests":%d,"seconds":%f,"errors":%d,"p50":%f,"p99":%f,"p999":%f}\\n',
          summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
          latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
      end
    LUA
  end
end
