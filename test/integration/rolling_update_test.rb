# frozen_string_literal: true

require_relative "../helpers/server_case"

# How Kubernetes ends a pod, acted out: HAProxy is who learns from `/readyz` where to send requests. Three instances are
# replaced one after another, and no client notices.
#
# ROLLS  how often; then `shutdown_delay` is 2 seconds as in production, and the outcome is printed. Otherwise once, and
#        the delay ends when HAProxy has noticed: a machine that is busy may need longer than 2 seconds for that.
class RollingUpdateTest < ServerCase
  HAPROXY = ["/usr/sbin", *ENV.fetch("PATH").split(":")].map { |place| "#{place}/haproxy" }
                                                        .find { |path| File.executable?(path) }
  ROLLS = ENV["ROLLS"]&.to_i
  KEPT = 6
  FRESH = 4
  # Of each client, between two requests: 200 a second of all of them.
  PAUSE = 0.05

  Instance = Struct.new(:name, :port, :health, :process)

  def self.limit = ROLLS ? 3600 : super

  def setup
    super
    skip "no haproxy here" unless HAPROXY
    @place = folder
    @instances = %w[a b c].map { |name| Instance.new(name, UniquePort.call, UniquePort.call) }
    @fronts = { "http" => UniquePort.call, "tcp" => UniquePort.call }
    @seen = Hash.new(0)
    @faults = Thread::Queue.new
  end

  def teardown
    @clients&.each(&:kill)
    if @haproxy
      Process.kill(:TERM, @haproxy)
      Process.wait(@haproxy)
      warn File.read(File.join(@place, "haproxy.log")) unless passed?
    end
    super
  end

  def test_nobody_notices_that_instances_are_replaced
    @instances.each { |instance| start_instance(instance) }
    start_haproxy
    await("all are up") { states.values.uniq == ["UP"] }
    @clients = @fronts.values.flat_map do |port|
      Array.new(KEPT / 2) { client(port, kept: true) } + Array.new(FRESH / 2) { client(port, kept: false) }
    end
    (ROLLS || 1).times { @instances.each { |instance| replace(instance) } }

    faults = Array.new(@faults.size) { @faults.pop }
    summary = "#{@seen.values.sum} requests, #{faults.size} failed"
    puts "", summary if ROLLS
    assert_empty faults.first(10), summary
  end

  private

  def start_instance(instance)
    config = "rserve { health_bind 'tcp://127.0.0.1:#{instance.health}'; shutdown_delay #{ROLLS ? 2 : 60} }"
    arguments = instance.name == "a" ? [] : %w[-w 2]
    spawn_server("-b", "tcp://127.0.0.1:#{instance.port}", *arguments, listen: false, config:)
    instance.process = server
  end

  def replace(instance)
    old = instance.process
    old.signal(:TERM)
    await("#{instance.name} is down") { states[instance.name] == "DOWN" }
    unless ROLLS
      await_requests
      old.signal(:TERM)
    end
    old.wait_exit(timeout: 30)
    @servers.delete(old.tap(&:stop))
    start_instance(instance)
    await("#{instance.name} is up") { states[instance.name] == "UP" }
    await_requests
  end

  # Every client has begun another request, and one after that.
  def await_requests
    before = @seen.dup
    await("every client goes on") { @clients.all? { |client| @seen[client] >= before[client] + 2 } }
  end

  def client(port, kept:)
    Thread.new do
      socket = reader = nil
      loop do
        socket, reader = open_connection(port) unless socket
        socket.write("GET / HTTP/1.1\r\nHost: x\r\n#{"Connection: close\r\n" unless kept}\r\n")
        response = reader.receive(timeout: 30)
        @faults << response.head unless response.status == 200
        if !kept || response["Connection"] == "close"
          socket.close
          socket = nil
        end
        @seen[Thread.current] += 1
        sleep PAUSE
      rescue SystemCallError, IOError, Timeout::Error => e
        @faults << "#{e.class}: #{e.message}"
        socket&.close
        socket = nil
      end
    end
  end

  def open_connection(port)
    socket = TCPSocket.new("127.0.0.1", port)
    [socket, ResponseReader.new(socket)]
  end

  # Nothing is tried again: what an instance refuses, a client sees.
  def configuration
    servers = @instances.map do |instance|
      "  server #{instance.name} 127.0.0.1:#{instance.port} check port #{instance.health} inter 100ms fall 1 rise 1\n"
    end
    fronts = @fronts.map do |mode, port|
      "listen #{mode}\n  mode #{mode}\n  bind 127.0.0.1:#{port}\n  balance roundrobin\n  " \
        "option httpchk GET /readyz\n  http-check expect status 200\n#{servers.join}"
    end
    <<~TEXT + fronts.join
      global
        stats socket #{@place}/stats
      defaults
        retries 0
        timeout connect 10s
        timeout client 60s
        timeout server 60s
        timeout check 10s
    TEXT
  end

  def start_haproxy
    path = File.join(@place, "haproxy.cfg")
    File.write(path, configuration)
    @haproxy = Process.spawn(HAPROXY, "-db", "-f", path, %i[out err] => File.join(@place, "haproxy.log"))
    await("haproxy listens") { File.socket?("#{@place}/stats") }
  end

  # @return [Hash{String => String}] what HAProxy takes each instance for: UP or DOWN where both of its sides say so
  def states
    text = UNIXSocket.open("#{@place}/stats") do |socket|
      socket.write("show stat\n")
      socket.read
    end
    rows = text.lines(chomp: true).grep(/\A(?:http|tcp),[abc],/).map { |line| line.split(",") }
    rows.group_by { |row| row[1] }.transform_values { |same| same.map { |row| row[17][/\w+/] }.uniq.join("/") }
  rescue Errno::ECONNREFUSED
    {}
  end

  def await(wanted, &) = server.wait_until(wanted, 60, &)
end
