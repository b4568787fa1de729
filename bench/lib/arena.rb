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
  def self.post(path, body) = "wrk.format('POST', '#{path}', {['Content-Type'] = 'text/plain'}, '#{body}')"

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

# The profiles of public comparisons, by kind, each in every app of bench/arena: see DEFAULT_WORKLOAD.
module Arena
  # App => the gem that it wants, in place of one of its name.
  APPS = { "sinatra" => "sinatra", "roda" => "roda", "rails" => "railties" }.freeze

  # Family => what its picture is called.
  FAMILIES = {
    "small" => "Small answers", "bodies" => "Larger bodies, out and in", "files" => "Files", "tls" => "TLS",
    "database" => "Fifty rows of PostgreSQL", "waiting" => "A fast page beside requests that wait for a second",
    "sockets" => "WebSockets, and requests that do not wait for answers", "pages" => "A page of each framework's",
    "mix" => "A mix, by all cores"
  }.freeze

  PROFILES = {
    "small" => {
      "sum" => { lua: ArenaScripts.rotate(*ArenaScripts::SUMS) },
      "short" => { lua: ArenaScripts::SHORT },
      "json" => { path: "/json" }
    },
    "bodies" => {
      "json gzip" => { path: "/json", headers: { "Accept-Encoding" => "gzip" } },
      "upload 20 MB" => { path: "/upload", method: "POST", lua: ArenaScripts::UPLOAD, connections: 4,
                          headers: { "Content-Type" => "application/octet-stream" } }
    },
    "files" => { "files" => { lua: ArenaScripts::FILES } },
    "tls" => {
      "json tls" => { path: "/json", tls: true },
      "tls new" => { tls: true, new_sessions: true, connections: 5 },
      "tls resumed" => { tls: true, close: true, connections: 5 }
    },
    "database" => { "database" => { path: "/items", database: true } },
    "waiting" => { "waits 1 s" => { rate: 200, connections: 100, slow_every: 100, slow_path: "/wait" } },
    "sockets" => {
      "WebSocket" => { path: "/echo", connections: 16, echo: true },
      "pipelined" => { lua: ArenaScripts::PIPELINE, connections: 8 }
    },
    "pages" => { "page" => { path: "/page" } },
    "mix" => {
      "mix 2x5" => { lua: ArenaScripts::MIX, connections: 64, workers: 2, preload: true },
      "mix 8x5" => { lua: ArenaScripts::MIX, connections: 64, workers: 8, preload: true, control: true }
    }
  }.freeze

  # What pictures call profiles that are not called so.
  TITLES = {
    "sum" => "sums", "short" => "10 for a connection", "json" => "JSON", "json gzip" => "JSON, gzip",
    "json tls" => "JSON, TLS", "tls new" => "new TLS sessions", "tls resumed" => "resumed sessions",
    "database" => "PostgreSQL", "pipelined" => "16 at a time", "page" => "page of ERB", "mix 2x5" => "mix, 2 workers",
    "mix 8x5" => "mix, 8 workers"
  }.freeze

  # @param app [String]
  # @return [Boolean] whether its framework is there
  def self.there?(app) = Gem::Specification.find_all_by_name(APPS.fetch(app)).any?

  # @param apps [Array<String>]
  # @param families [Array<String>]
  # @return [Array<String>] names of workloads
  def self.names(apps, families)
    WORKLOADS.select { |_, workload| apps.include?(workload[:framework]) && families.include?(workload[:family]) }.keys
  end

  COMMON = { **DEFAULT_WORKLOAD, rserve_config: "bench/arena/rserve.rb", files: "docs", path: "/fast",
                                 connections: 32 }.freeze
  private_constant :COMMON

  # Those of Sinatra's app have the profile's name alone.
  WORKLOADS = APPS.keys.flat_map do |app|
    PROFILES.flat_map do |family, profiles|
      profiles.map do |name, workload|
        [[*(app unless app == "sinatra"), name].join(" "),
         { **COMMON, app: "bench/arena/#{app}.ru", framework: app, family:, **workload }]
      end
    end
  end.to_h.freeze
end
