# frozen_string_literal: true

require "io/wait"
require "socket"
require_relative "latencies"

# A client that asks so many times a second whether it is answered or not, as a crowd of independent people does. A time
# counts from when the request was due, not from when a connection was free for it: a server that stands still for a
# second has made a second's requests wait, not one ("coordinated omission"). The connection that
# has been free for longest is taken: who asked last is not who asks next.
class PacedClient
  # What is waited for after the last request was due.
  PATIENCE = 5

  # One request on its way. `due` is when it should have been sent.
  Waiting = Struct.new(:due, :timed, :answer)

  # @return [Hash] requests, seconds, errors (those not answered with 200), p50, p99, p999 (ms) of the requests for
  #   `path`; the others, one in `slow_every` for `slow_path`, are not timed
  def run(server, workload, seconds)
    @port = server.port
    @workload = workload
    # Connections, and nil for one that is still to be made: a server without keep-alive is asked when it is connected.
    @free = Array.new(workload[:connections])
    @waiting = {}
    @times = []
    @answered = @errors = 0
    GC.disable
    ask_and_listen(seconds)
    result(seconds)
  ensure
    GC.enable
    [*@free, *@waiting&.keys].each { |socket| socket&.close }
  end

  private

  def ask_and_listen(seconds)
    began = now
    total = (seconds * @workload[:rate]).to_i
    sent = 0
    due = began
    while sent < total || @waiting.any?
      while sent < total && due <= now && !@free.empty?
        ask(still_open(@free.shift) || connect, due, sent)
        due = began + ((sent += 1).to_f / @workload[:rate])
      end
      break if now > began + seconds + PATIENCE

      listen(sent < total && !@free.empty? ? due - now : 0.1)
    end
    # Those that are too late, and those that could not even be asked, have waited that long at least.
    @waiting.each_value { |waiting| note(waiting, answered: false) }
    (sent...total).each { |number| note(request(began + (number.to_f / @workload[:rate]), number), answered: false) }
  end

  # Unless the server has closed it meanwhile, as one that nobody has used for long.
  def still_open(socket)
    return socket unless socket&.wait_readable(0)

    socket.close
  end

  def request(due, number) = Waiting.new(due, !slow?(number), +"")
  def slow?(number) = @workload[:slow_every] && (number % @workload[:slow_every]).zero?

  def ask(socket, due, number)
    @waiting[socket] = request(due, number)
    path = slow?(number) ? @workload[:slow_path] : @workload[:path]
    socket.write("GET #{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
  rescue SystemCallError
    lose(socket)
  end

  def listen(seconds)
    ready, = IO.select(@waiting.keys, nil, nil, [seconds, 0].max)
    ready&.each do |socket|
      waiting = @waiting.fetch(socket)
      socket.read_nonblock(65_536, exception: false).then { |octets| waiting.answer << octets }
      finish(socket, waiting) if whole?(waiting.answer)
    rescue SystemCallError, TypeError # reset, or closed
      lose(socket)
    end
  end

  def whole?(answer)
    head = answer.index("\r\n\r\n") or return false
    answer.bytesize >= head + 4 + answer[/^content-length: *(\d+)/i, 1].to_i
  end

  def finish(socket, waiting)
    @waiting.delete(socket)
    note(waiting, answered: waiting.answer.start_with?("HTTP/1.1 200"))
    if waiting.answer.match?(/^connection: *close/i)
      socket.close
      socket = nil
    end
    @free << socket
  end

  def lose(socket)
    note(@waiting.delete(socket), answered: false)
    socket.close
    @free << nil
  end

  def note(waiting, answered:)
    answered ? @answered += 1 : @errors += 1
    @times << ((now - waiting.due) * 1e3) if waiting.timed
  end

  def connect
    TCPSocket.new("127.0.0.1", @port).tap { |socket| socket.setsockopt(:TCP, :NODELAY, true) }
  end

  def result(seconds)
    { requests: @answered, seconds:, errors: @errors, **Latencies.summary(@times) }
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
