# frozen_string_literal: true

# What an operator may turn on for every request, all of it: for `bench/pairs --with bench/everything.rb`.
rserve do
  telemetry
  health_bind "unix:///tmp/rserve-bench-#{Process.pid}.sock"
  request_start true
  queue_time_limit 5
  queue_limit 1000
  request_timeout 30, hard: 60
  max_requests 10_000_000
  worker_lifetime 36_000
end
