# frozen_string_literal: true

require_relative "workloads"

# How wrk chooses among several requests.
module ArenaScripts
  # In turn.
  # @param requests [Array<String>] in Lua
  def self.rotate(*requests)
    <<~LUA
      local all, at = nil, 0
      request = function()
        all = all or {#{requests.join(", ")}}
        at = at % #{requests.size} + 1
        return all[at]
      end
    LUA
  end

  def self.get(path, headers = "nil") = "wrk.format('GET', '#{path}', #{headers})"
  def self.post(path, body) = "wrk.format('POST', '#{path}', nil, '#{body}')"

  SUMS = [get("/sum?a=13&b=42"), post("/sum?a=13&b=42", "20"), get("/sum?a=1&b=2")].freeze
  MIX = rotate(*SUMS, get("/json"), get("/fast"), get("/json", "{['Accept-Encoding'] = 'gzip'}"), get("/servers.svg"))
  FILES = rotate(*%w[/benchmark.svg /servers.svg /nginx.conf].map { |path| get(path) })
  # One request in ten is the last one of its connection.
  SHORT = rotate(*([get("/fast")] * 9), get("/fast", "{['Connection'] = 'close'}"))
  PIPELINE = <<~LUA
    local all
    request = function()
      all = all or string.rep(wrk.format('GET', '/fast'), 16)
      return all
    end
  LUA
  UPLOAD = "wrk.body = string.rep('u', 20 * 1024 * 1024)"
end

# The profiles of public comparisons, for bench/arena.ru: see DEFAULT_WORKLOAD.
ARENA = {
  "sum" => { lua: ArenaScripts.rotate(*ArenaScripts::SUMS), connections: 32 },
  "short" => { lua: ArenaScripts::SHORT, connections: 32 },
  "pipelined" => { lua: ArenaScripts::PIPELINE, connections: 8 },
  "json" => { path: "/json", connections: 32 },
  "json gzip" => { path: "/json", connections: 32, headers: { "Accept-Encoding" => "gzip" } },
  "json tls" => { path: "/json", connections: 32, tls: true },
  "files" => { lua: ArenaScripts::FILES, connections: 32 },
  "upload 20 MB" => { path: "/upload", method: "POST", lua: ArenaScripts::UPLOAD, connections: 4,
                      headers: { "Content-Type" => "application/octet-stream" } },
  "database" => { path: "/items", connections: 32, database: true },
  "WebSocket" => { path: "/echo", connections: 16, echo: true },
  "waits 1 s" => { path: "/fast", rate: 200, connections: 100, slow_every: 100, slow_path: "/wait" },
  "mix 2x5" => { lua: ArenaScripts::MIX, connections: 64, workers: 2 },
  "mix 8x5" => { lua: ArenaScripts::MIX, connections: 64, workers: 8, control: true }
}.transform_values do |workload|
  { **DEFAULT_WORKLOAD, app: "bench/arena.ru", rserve_config: "bench/arena.rb", path: "/fast", **workload }
end.freeze
