# frozen_string_literal: true

# What the servers are asked for. Each workload is an app, how the server runs it, and how it is loaded.
#
# app          rackup file
# workers      processes; 0 is single mode
# threads      Ruby threads of each
# connections  clients at a time
# headers      of each request
# path, method, body of each request; a fresh connection for each request with `close: true`
DEFAULT_WORKLOAD = { app: "test/rackup/hello.ru", workers: 0, threads: 5, connections: 5, headers: {}, path: "/",
                     method: "GET", body: nil, close: false }.freeze

WORKLOADS = {
  "hello c1" => { connections: 1 },
  "hello c5" => { connections: 5 },
  "hello c50" => { connections: 50 }
}.transform_values { |workload| DEFAULT_WORKLOAD.merge(workload) }.freeze
