# frozen_string_literal: true

# What the servers are asked for. Each workload is an app, how the server runs it, and how it is loaded.
#
# app          rackup file
# files        what a server sends by itself if it can; it compresses then, too
# workers      processes; 0 is single mode
# preload      whether the application is loaded before they are forked
# threads      Ruby threads of each
# control      whether it has a control server, which tells what each worker has served
# tls          whether over TLS; a session for each request with `new_sessions: true`
# connections  clients at a time; 5 unless the name says otherwise
# headers      of each request
# framework, family  of one of the arena's
# path, method, body of each request; a fresh connection for each request with `close: true`
# lua          how wrk chooses its requests, instead of one all the time
# database     whether there is a PostgreSQL
# echo         whether the path is a WebSocket's, which sends back what it is sent
# rate         requests a second, however fast they are answered; without it, as many as are answered
# slow_path    one in `slow_every` requests is for it, and not timed
# idle, slow   other clients meanwhile: connected and silent ones, and ones on slow lines
DEFAULT_WORKLOAD = { app: "test/rackup/hello.ru", workers: 0, preload: false, threads: 5, tls: false,
                     connections: 5, headers: {},
                     path: "/", method: "GET", body: nil, close: false }.freeze

# What a browser sends with every request.
BROWSER_HEADERS = {
  "User-Agent" => "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
  "Accept" => "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Language" => "en-GB,en;q=0.9,de;q=0.8", "Accept-Encoding" => "gzip, deflate, br, zstd",
  "Cache-Control" => "max-age=0", "Cookie" => "_session=#{"c" * 160}; theme=dark", "Sec-Fetch-Dest" => "document",
  "Sec-Fetch-Mode" => "navigate", "Sec-Fetch-Site" => "same-origin", "Sec-Fetch-User" => "?1",
  "Upgrade-Insecure-Requests" => "1", "Referer" => "http://localhost/somewhere"
}.freeze

WORKLOADS = {
  "hello c1" => { connections: 1 },
  "hello c5" => { connections: 5 },
  "hello c50" => { connections: 50 },
  "hello 2x5 c50" => { connections: 50, workers: 2 },
  "browser" => { headers: BROWSER_HEADERS },
  "middleware" => { app: "bench/app.ru", path: "/stack" },
  "big" => { app: "bench/app.ru", path: "/big" },
  "chunks" => { app: "bench/app.ru", path: "/chunks" },
  "echo" => { app: "bench/app.ru", path: "/echo", method: "POST", body: "e" * 10_240 },
  "close" => { close: true, connections: 20 },
  "sleep" => { app: "bench/app.ru", path: "/sleep", connections: 20 },
  "cpu" => { app: "bench/app.ru", path: "/cpu", connections: 20 },
  "cpu 2x5" => { app: "bench/app.ru", path: "/cpu", connections: 20, workers: 2 },
  "1000 idle" => { idle: 1000 },
  "500 slow" => { app: "bench/app.ru", rate: 1000, connections: 50, slow: 500 },
  "mixed wait" => { app: "bench/app.ru", rate: 500, connections: 100, slow_every: 20, slow_path: "/wait" },
  "mixed cpu" => { app: "bench/app.ru", rate: 500, connections: 100, slow_every: 20, slow_path: "/work" },
  "tls" => { tls: true },
  "tls new" => { tls: true, new_sessions: true },
  "tls resumed" => { tls: true, close: true },
  "rails plain" => { app: "bench/rails/config.ru", path: "/plain" },
  "rails plain 2x5" => { app: "bench/rails/config.ru", path: "/plain", workers: 2, connections: 10 },
  "rails preloaded" => { app: "bench/rails/config.ru", path: "/plain", workers: 2, connections: 10, preload: true },
  "rails erb" => { app: "bench/rails/config.ru", path: "/page" },
  "rails erb 2x5" => { app: "bench/rails/config.ru", path: "/page", workers: 2, connections: 10 }
}.transform_values { |workload| DEFAULT_WORKLOAD.merge(workload) }.freeze
