# frozen_string_literal: true

require_relative "other_clients"
require_relative "handshake_client"
require_relative "paced_client"
require_relative "web_socket_client"
require_relative "wrk"

# Loads a server for a number of seconds and reads off what it used.
class Load
  def initialize(seconds:, warm_up:)
    @seconds = seconds
    @warm_up = warm_up
  end

  # @return [Hash] rate (requests/s), cpu (server's processor time for a request, in µs), switches (context switches of
  #   the server for a request), p50, p99, p999 (ms), errors (failed requests), pss and private (bytes), busiest (see
  #   BenchServer#busiest), paced (whether the rate was the client's choice)
  def measure(server, workload)
    client = client_for(workload)
    OtherClients.beside(server, workload) do
      client.run(server, workload, @warm_up) if @warm_up.positive?
      rest(server) unless workload[:slow]
      before = server.usage
      result = client.run(server, workload, @seconds)
      used = server.usage - before
      { **figures(result, used), **server.memory, busiest: server.busiest, paced: workload.key?(:rate) }
    end
  end

  private

  def client_for(workload)
    return PacedClient.new if workload[:rate]
    return WebSocketClient.new if workload[:echo]

    workload[:new_sessions] ? HandshakeClient.new : Wrk.new
  end

  # What the warm-up left behind is not to be measured.
  def rest(server)
    20.times do
      before = server.usage.cpu
      sleep 0.1
      break if server.usage.cpu == before
    end
  end

  def figures(result, used)
    requests = [result.fetch(:requests), 1].max.to_f
    { rate: requests / result.fetch(:seconds), cpu: used.cpu / requests * 1e6, switches: used.switches / requests,
      **result.slice(:p50, :p99, :p999, :errors) }
  end
end
