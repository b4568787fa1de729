# frozen_string_literal: true

require "socket"

# Other clients that are there while a server is measured, in a process of their own.
class OtherClients
  # @param workload [Hash] `idle` and `slow` are how many there are
  # @yield while they are there
  def self.beside(server, workload)
    crowds = []
    crowds << IdleClients.new(workload[:idle]) if workload[:idle]
    crowds << SlowClients.new(workload[:slow]) if workload[:slow]
    children = crowds.map { |crowd| start(crowd, server.port) }
    yield
  ensure
    children&.each do |child|
      Process.kill(:KILL, child)
      Process.wait(child)
    end
  end

  # @return [Integer] the process that they are in, once everybody is there
  def self.start(crowd, port)
    ready, ready_writer = IO.pipe
    child = fork do
      ready.close
      crowd.run(port) { ready_writer.close }
    end
    ready_writer.close
    ready.read
    child
  end
  private_class_method :start
end

# Clients that were answered once and stay connected.
class IdleClients
  def initialize(count)
    @count = count
  end

  def run(port)
    sockets = Array.new(@count) { TCPSocket.new("127.0.0.1", port) }
    sockets.each do |socket|
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      socket.readpartial(4096)
    end
    yield
    sleep
  end
end

# Clients on bad lines: a request takes each of them a second to send, and its answer of 100 KB at least another one
# to read. Then they come back.
class SlowClients
  REQUEST = "GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
  # Octets sent, and read, at a time.
  SENT = 8
  READ = 10_240
  # Seconds between two parts, and how many groups take turns, so that they don't all come at once.
  EVERY = 0.1
  GROUPS = 25

  def initialize(count)
    @clients = Array.new(count) { SlowClient.new }
  end

  def run(port)
    groups = @clients.each_with_index.group_by { |_, number| number % GROUPS }.values.map { |group| group.map(&:first) }
    @clients.each { |client| client.connect(port) }
    yield
    due = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    groups.cycle do |group|
      group.each { |client| client.go_on(port) }
      due += EVERY / GROUPS
      left = due - Process.clock_gettime(Process::CLOCK_MONOTONIC)
      sleep left if left.positive?
    end
  end

  # One of them.
  class SlowClient
    # Little is on its way at a time: the kernel's buffers are as they would be on a real network, not the megabytes of
    # the loopback interface.
    RECEIVE_BUFFER = 4096
    SEGMENT = 1448

    def connect(port)
      @socket&.close
      @socket = Socket.new(:INET, :STREAM)
      @socket.setsockopt(:SOCKET, :RCVBUF, RECEIVE_BUFFER)
      @socket.setsockopt(:TCP, :MAXSEG, SEGMENT)
      @socket.connect_nonblock(Addrinfo.tcp("127.0.0.1", port), exception: false)
      @left = REQUEST
    end

    def go_on(port)
      if @left.empty?
        connect(port) if @socket.read_nonblock(READ, exception: false).nil?
      elsif (sent = @socket.write_nonblock(@left.byteslice(0, SENT), exception: false)).is_a?(Integer)
        @left = @left.byteslice(sent..)
      end
    rescue SystemCallError
      connect(port)
    end
  end
end
