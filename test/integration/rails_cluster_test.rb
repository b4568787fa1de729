# frozen_string_literal: true

require_relative "../helpers/rails_case"
require_relative "../helpers/client_load"
require_relative "../helpers/web_socket"

# The Rails app in a cluster.
class RailsClusterTest < RailsCase
  # Eight boots of Rails beside the clients.
  def self.limit = 180

  def test_with_preloading
    spawn_cluster env: { "PRELOAD_APP" => "true" }
    assert_every_worker_has_a_database
  end

  def test_without_preloading
    spawn_cluster
    assert_every_worker_has_a_database
  end

  def test_reforks_under_load
    spawn_cluster "--fork-worker=0"
    load = ClientLoad.new(server, keep_alive: 3, fresh: 3, target: "/notes.json", pause: 0.02)
    2.times do
      @mark = server.mark
      server.signal(:URG)
      server.wait_for_log(/Worker 1 \(PID: \d+\) booted/, after: @mark, timeout: 60)
      Array.new(8) { Thread.new { assert_equal 200, submit_json("/count", {}).status } }.each(&:join)
    end
    assert_equal ["answered"], load.stop.keys
    refute_log(/SQLite3::|hook .* failed/)
  ensure
    load&.stop
  end

  def test_restarts_under_load_lose_no_request_and_no_job
    spawn_cluster
    load = ClientLoad.new(server, keep_alive: 3, fresh: 3, target: "/pid", pause: 0.02)
    enqueuing = start_enqueuing
    listener = ReconnectingListener.new(server)
    [[:USR1, 1], [:USR2, 0], [:USR1, 1]].each do |signal, phase|
      asked = load.asked
      reconnected = listener.connections
      restart(signal, phase)
      server.wait_until("the new workers have served", 20) { load.asked > asked + 50 }
      server.wait_until("the listener is back", 20) { listener.connections > reconnected } if signal == :USR2
    end
    server.wait_until("the listener hears something", 20) { listener.heard.positive? }
    assert_equal ["answered"], load.stop.keys
    accepted = enqueuing.stop
    # Of the workers of before, each has ended, and with it its jobs; those of now may still be at it.
    server.wait_until("every job is done", 20) { (accepted - notes).empty? }
    assert_operator accepted.size, :>, 20
  ensure
    listener&.stop
    enqueuing&.stop
    load&.stop
  end

  private

  def spawn_cluster(*arguments, env: {})
    spawn_app(*arguments, env: env.merge("WEB_CONCURRENCY" => "2"))
    @mark = 0
    wait_for_workers(0)
  end

  def restart(signal, phase)
    @mark = server.mark
    server.signal(signal)
    wait_for_workers(phase)
  end

  def wait_for_workers(phase)
    2.times do |index|
      server.wait_for_log(/Worker #{index} \(PID: \d+\) booted in .*, phase: #{phase}/, after: @mark, timeout: 60)
    end
  end

  def assert_every_worker_has_a_database
    workers = {}
    server.wait_until("both workers answer", 20) { workers.store(get("/pid").body, true) && workers.size == 2 }
    clients = Array.new(6) { Thread.new { Array.new(8) { submit_json("/count", {}).body } } }
    assert_equal "48", clients.flat_map(&:value).max_by(&:to_i)
    refute_log(/SQLite3::|hook .* failed/)
  end

  def start_enqueuing
    Repeated.new do |number|
      answer = submit_json("/jobs", { body: "job #{number}" })
      assert_equal 202, answer.status
      sleep 0.02
      "job #{number}"
    end
  end

  # Calls the block again and again.
  class Repeated
    def initialize
      @results = []
      @thread = Thread.new { @results << yield(@results.size) until @stop }
    end

    # @return [Array] what the calls gave
    def stop
      @stop = true
      @thread.join
      @results
    end
  end

  # A subscription that is renewed whenever it ends.
  class ReconnectingListener
    attr_reader :connections, :heard

    def initialize(server)
      @connections = @heard = 0
      @repeated = Repeated.new { listen(server) }
    end

    def stop
      @stop = true
      @repeated.stop
    end

    private

    def listen(server)
      client = CableClient.new(server.connect, "NotesChannel")
      @connections += 1
      client.perform("say", { body: "I am back" })
      @heard += 1 while hear(client)
    rescue WebSocket::Closed, SystemCallError
      nil # and again
    ensure
      client&.close
    end

    # @return [Boolean] false when it is time to stop
    def hear(client)
      client.receive(timeout: 0.2) unless @stop
    rescue Timeout::Error
      retry
    end
  end
end
