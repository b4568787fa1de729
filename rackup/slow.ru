# frozen_string_literal: true

# GET /sleep/1.5 waits, which other requests do not notice; GET /cpu/1.5 computes, which they share the processor with.
now = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }

run lambda { |env|
  _, kind, seconds = *env["PATH_INFO"].match(%r{\A/(sleep|cpu)/(\d+(?:\.\d+)?)\z})
  case kind
  when "sleep" then sleep seconds.to_f
  when "cpu"
    enough = now.call + seconds.to_f
    nil until now.call > enough
  end
  [200, { "content-type" => "text/plain" }, ["#{kind || "idle"} #{seconds}\n"]]
}
