# frozen_string_literal: true

require "socket"

# Clients of which each asks at fixed times, whether it has been answered or not; some keep their connections, others
# make one for each request. They are one thread of a process of their own, so that neither each other nor whoever
# starts them is part of what they measure.
#
# A time counts from when the request was due ("coordinated omission", see PacedClient). They are kept as octets: an old
# Array that grows is looked through by each collection of this process, and so the longer a run is the more it takes
# from what it measures.
class SteadyClients
  # What came of the requests.
  # @!attribute times [Array<Array(Float, Float)>] when each was due, and its seconds
  # @!attribute lost [Hash{String => Integer}] those that were not answered with 200, by kind and reason
  # @!attribute cpu [Float] seconds of processor time that asking took
  Result = Struct.new(:times, :lost, :cpu)

  # @!attribute due [Float] when it has to ask, or had to
  # @!attribute began [Float, nil] when that was, while there is no answer
  Client = Struct.new(:kind, :due, :socket, :began, :answer)
  private_constant :Client

  PATIENCE = 30
  private_constant :PATIENCE

  # @param kinds [Hash{Symbol => Integer}] how many keep_alive, and fresh
  # @param period [Float] seconds between two requests of a client
  # @return [SteadyClients] that ask until `stop`
  def self.start(port, kinds, period: 0.1)
    stop_reader, stop_writer = IO.pipe
    result_reader, result_writer = IO.pipe(binmode: true)
    pid = fork do
      [stop_writer, result_reader].each(&:close)
      give_it_the_processor
      result = new(port, kinds, period, stop_reader).run
      Marshal.dump(result.to_a, result_writer)
      exit!(0)
    end
    [stop_reader, result_writer].each(&:close)
    [pid, stop_writer, result_reader]
  end

  # @return [Result]
  def self.stop(running)
    pid, stop_writer, result_reader = running
    stop_writer.close
    Result.new(*Marshal.load(result_reader)) # rubocop:disable Security/MarshalLoad -- a child's
  ensure
    result_reader.close
    Process.wait(pid)
  end

  # People who ask have machines of their own: what is measured is when the answer is there.
  def self.give_it_the_processor
    Process.setpriority(Process::PRIO_PROCESS, 0, Process.getpriority(Process::PRIO_PROCESS, 0) - 10)
  rescue Errno::EACCES
    nil
  end
  private_class_method :give_it_the_processor

  def initialize(port, kinds, period, stop)
    @port = port
    @period = period
    @stop = stop
    now = clock
    clients = kinds.flat_map do |kind, count|
      Array.new(count) { |index| Client.new(kind, now + (period * index / count)) }
    end
    @idle = clients.sort_by(&:due)
    @waiting = {}
    @times = String.new(capacity: 1 << 20)
    @lost = Hash.new(0)
  end

  def run
    until @stopping && @waiting.empty?
      now = clock
      ask(@idle.shift) while !@stopping && @idle.first&.due&.<=(now)
      listen
      give_up(now)
    end
    times = @times.unpack("d*").each_slice(2).to_a
    Result.new(times, @lost.to_h, Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID))
  end

  private

  def ask(client)
    client.began = client.due
    client.due += @period
    client.answer = +""
    client.socket ||= TCPSocket.new("127.0.0.1", @port).tap { |socket| socket.setsockopt(:TCP, :NODELAY, true) }
    close = "Connection: close\r\n" if client.kind == :fresh
    client.socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n#{close}\r\n")
    @waiting[client.socket] = client
  rescue SystemCallError => e
    lose(client, e.class.name)
  end

  def listen
    due = @idle.first&.due unless @stopping
    watched = @waiting.keys
    watched << @stop unless @stopping
    ready, = IO.select(watched, nil, nil, due ? [due - clock, 0].max : 1)
    ready&.each { |socket| socket.equal?(@stop) ? @stopping = true : hear(@waiting.fetch(socket)) }
  end

  def hear(client)
    part = client.socket.read_nonblock(65_536, exception: false)
    return if part == :wait_readable
    return lose(client, "EOF") unless part

    client.answer << part
    finish(client) if whole?(client.answer)
  rescue SystemCallError => e
    lose(client, e.class.name)
  end

  def whole?(answer)
    head = answer.index("\r\n\r\n") or return false
    answer.bytesize >= head + 4 + answer[/^content-length: *(\d+)/i, 1].to_i
  end

  def finish(client)
    status = client.answer[%r{\AHTTP/1.1 (\d+)}, 1]
    return lose(client, "status #{status}") unless status == "200"

    [client.began, clock - client.began].pack("dd", buffer: @times)
    rest(client, stays: client.kind == :keep_alive && !client.answer.match?(/^connection: *close/i))
  end

  def give_up(now)
    _, oldest = @waiting.first
    lose(oldest, "no answer") if oldest && oldest.began < now - PATIENCE
  end

  def lose(client, reason)
    @lost["#{client.kind}: #{reason}"] += 1
    rest(client, stays: false)
  end

  def rest(client, stays:)
    @waiting.delete(client.socket)
    client.began = nil
    @idle.insert(@idle.bsearch_index { |other| other.due > client.due } || -1, client)
    return if stays

    client.socket&.close
    client.socket = nil
  end

  def clock = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
