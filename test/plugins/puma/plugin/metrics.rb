# frozen_string_literal: true

require "json"
require "socket"
require "puma/plugin"

# In the shape of yabeda's plugins: statistics are asked of the control server with its token, as the launcher's options
# have them, and are served by a second server of Puma's class inside this process.
module Puma
  class DSL
    def metrics_url(url)
      @options[:metrics_url] = url
    end
  end
end

Puma::Plugin.create do
  def start(launcher)
    control = [launcher.options[:control_url], launcher.options[:control_auth_token]]
    clustered = (launcher.options[:workers] || 0).positive?
    app = ->(_env) { [200, { "Content-Type" => "text/plain" }, [metrics(control, clustered)]] }
    host, port = launcher.options[:metrics_url].delete_prefix("tcp://").split(":")
    in_background do
      server = Puma::Server.new(app, nil, { min_threads: 0, max_threads: 1, log_writer: launcher.log_writer })
      server.add_tcp_listener(host, Integer(port))
      launcher.events.register(:state) do |state|
        server.stop(true) if %i[halt restart stop].include?(state) && !server.shutting_down?
      end
      server.run
      launcher.log_writer.log "* Metrics on http://#{host}:#{port}"
    end
  end

  private

  def metrics(control, clustered)
    stats = JSON.parse(ask(*control))
    figures = clustered ? stats.fetch("worker_status").map { |worker| worker.fetch("last_status") } : [stats]
    figures.each_with_index.map do |figure, index|
      "puma_max_threads{index=\"#{index}\"} #{figure["max_threads"]}\n"
    end.join
  end

  def ask(url, token)
    host, port = url.delete_prefix("tcp://").split(":")
    TCPSocket.open(host, Integer(port)) do |socket|
      socket.write("GET /stats?token=#{token} HTTP/1.0\r\n\r\n")
      socket.read.split("\r\n\r\n", 2).last
    end
  end
end
