# frozen_string_literal: true

require_relative "good_traffic"
require_relative "victim"

# One thing that was measured, and between which bounds it is good.
Figure = Struct.new(:what, :measured, :unit, :bounds) do
  def good? = bounds.cover?(measured)

  def to_s
    format("%-4s %-58s %8g %-3s (%s)", good? ? "ok" : "BAD", what, measured.round(2), unit, wanted)
  end

  private

  def wanted
    return "at most #{bounds.end}" unless bounds.begin

    bounds.begin == bounds.end ? "exactly that" : "#{bounds.begin} to #{bounds.end}"
  end
end

# What greedy and hostile clients cost: each public method is a kind of them and gives its figures.
class Figures
  GET = Victim::GET
  OKAY = "HTTP/1.1 200"

  # As many as there are, each holding back its head as long as it is let.
  def slowloris
    Victim.open(config: "first_data_timeout 5") do |victim|
      clients = victim.connect_many(500).each { |client| client.write("GET / HTTP/1.1\r\nX-Slow: ") }
      lives = []
      good = victim.beside_good_traffic { lives = trickle_until_gone(clients, 10) }
      [Figure.new("500 slowloris clients: the last gets to stay", lives.max || 0, "s", 4.5..6.5),
       Figure.new("500 slowloris clients: still there", clients.size, "", ..0),
       *unharmed("500 slowloris clients", good, 25)]
    end
  end

  def readers
    Victim.open do |victim|
      clients = []
      good = victim.beside_good_traffic do
        clients = victim.connect_many(40).each { |client| client.write(GET.sub("/ ", "/large ")) }
        sleep 4
      end
      begun = clients.count { |client| client.read_nonblock(OKAY.size, exception: false) == OKAY }
      [Figure.new("40 readers of 10 MB: get a response", begun, "", 40..40), *unharmed("40 readers of 10 MB", good, 50)]
    end
  end

  # They come one by one. What they are owed goes to the disk, as far as the limit lets it.
  def unread
    Victim.open do |victim|
      most = 0
      good = victim.beside_good_traffic do
        clients = Array.new(500) do
          most = [most, victim.stored].max
          sleep 0.02
          victim.connect.tap { |client| client.write(GET.sub("/ ", "/large ")) }
        end
        clients.each(&:close)
      end
      # Five more are spared, one for each thread, and five may be on their way.
      [Figure.new("500 readers of nothing of 10 MB: on disk", most / 1_048_576.0, "MB", ..356),
       *unharmed("500 readers of nothing of 10 MB", good, 50)]
    end
  end

  # More of them than threads.
  def streams
    Victim.open(config: "workers 2") do |victim|
      good = victim.beside_good_traffic do
        victim.connect_many(12).each { |client| client.write(GET.sub("/ ", "/endless ")) }
        sleep 8
      end
      unharmed("12 readers of nothing of endless streams", good, 50)
    end
  end

  # Half of a TLS record at the control server's port, and connections that say nothing.
  def control
    [0, 2].flat_map do |workers|
      Victim.open(config: "workers #{workers}", control: true) do |victim|
        good = victim.beside_good_traffic do
          20.times { |number| victim.connect_control.write(number.even? ? CLIENT_HELLO_BEGUN : "") }
          sleep 4
        end
        ended = victim.seconds_to_end
        what = "20 at the control port, #{workers} workers"
        [*unharmed(what, good, 50), Figure.new("#{what}: TERM takes", ended, "s", ..3)]
      end
    end
  end

  # Names that differ in underscores and dashes, so that each has to be compared with all others.
  def underscores
    names = (0...510).map { |number| "x#{number.to_s(2).rjust(9, "0").tr("01", "_-")}y#{number}" }
    head = "GET / HTTP/1.1\r\nHost: localhost\r\n#{names.map { |name| "#{name}: 1\r\n" }.join}\r\n"
    Victim.open do |victim|
      answered = []
      good = victim.beside_good_traffic { answered = Array.new(40) { first_octets(victim, head) if sleep 0.1 } }
      what = "10 heads of 510 names a second"
      [Figure.new("#{what}: are answered", answered.count(OKAY), "", 40..40), *unharmed(what, good, 50)]
    end
  end

  def idle
    Victim.open(config: "persistent_timeout 60") do |victim|
      victim.warm_up
      before = victim.resident
      clients = victim.connect_many(5000).each { |client| client.write(GET) }
      answered = clients.count { |client| client.wait_readable(5) && client.readpartial(1000).start_with?(OKAY) }
      [Figure.new("5,000 idle connections: were answered", answered, "", 5000..5000),
       Figure.new("5,000 idle connections: memory of each", (victim.resident - before) / 5000.0, "KB", ..4)]
    end
  end

  def upload
    Victim.open do |victim|
      victim.warm_up
      before = victim.resident
      peak, answered = send_megabytes(victim, 100)
      [Figure.new("an upload of 100 MB: is answered", answered ? 1 : 0, "", 1..1),
       Figure.new("an upload of 100 MB: memory", (peak - before) / 1024.0, "MB", ..8)]
    end
  end

  def malformed
    Victim.open do |victim|
      1000.times { refused?(victim) }
      before = [victim.resident, victim.descriptors]
      refused = Array.new(20_000) { refused?(victim) }.count(true)
      victim.settle(before.last)
      [Figure.new("20,000 malformed requests: are refused", refused, "", 20_000..20_000),
       Figure.new("20,000 malformed requests: memory", (victim.resident - before.first) / 1024.0, "MB", ..2),
       Figure.new("20,000 malformed requests: descriptors", victim.descriptors - before.last, "", ..0)]
    end
  end

  def million
    Victim.open do |victim|
      victim.serve(100_000)
      before = victim.resident
      victim.serve(1_000_000)
      [Figure.new("1,000,000 requests: memory", (victim.resident - before) / 1024.0, "MB", ..5)]
    end
  end

  def descriptors
    Victim.open(descriptors: 64) do |victim|
      clients = victim.connect_many(200).each { |client| client.write(GET) }
      what = "64 descriptors, 200 clients"
      used, lines = over_seconds(victim, 5) { |mark| victim.log_lines(/cannot accept/, mark) }
      clients.each(&:close)
      recovered = GoodTraffic.new(victim.method(:connect)).answered?
      [Figure.new("#{what}: processor", used * 100, "%", ..5),
       Figure.new("#{what}: lines of log a second", lines / 5.0, "", ..1),
       Figure.new("#{what}: answers when they are gone", recovered ? 1 : 0, "", 1..1)]
    end
  end

  def resets
    Victim.open do |victim|
      victim.warm_up
      before = victim.descriptors
      good = victim.beside_good_traffic { 10_000.times { |number| reset(victim, number) } }
      victim.settle(before)
      [Figure.new("10,000 resets: descriptors", victim.descriptors - before, "", ..0),
       *unharmed("10,000 resets", good, 25)]
    end
  end

  def handshakes
    Victim.open(tls: true) do |victim|
      stalled = []
      good = victim.beside_good_traffic do
        stalled = Array.new(200) { victim.connect_bare }
        stalled.each_slice(2) { |_silent, begun| begun.write(CLIENT_HELLO_BEGUN) }
        sleep 4
      end
      [Figure.new("200 stalled handshakes: go on", stalled.count { |socket| !gone?(socket) }, "", 200..200),
       *unharmed("200 stalled handshakes", good, 50)]
    end
  end

  def certificates
    Victim.open(tls: true) do |victim|
      delays = []
      good = victim.beside_good_traffic { delays = Array.new(3) { seconds_to_see(victim, victim.renew_certificate) } }
      what = "3 new certificates under load"
      [Figure.new("#{what}: longest until one is seen", delays.max, "s", ..1),
       Figure.new("#{what}: requests of #{good.count} lost", good.lost, "", ..0)]
    end
  end

  private

  # A record's header and the first octets of the message: the rest never comes.
  CLIENT_HELLO_BEGUN = "\x16\x03\x01\x02\x00\x01\x00".b
  private_constant :CLIENT_HELLO_BEGUN

  # @return [Float] how long new connections still got another certificate
  def seconds_to_see(victim, serial)
    began = now
    sleep 0.01 until serial_shown(victim) == serial || now > began + 5
    now - began
  end

  def serial_shown(victim)
    tls = victim.connect
    tls.peer_cert.serial.to_i
  ensure
    tls&.close
  end

  def unharmed(what, good, milliseconds)
    [Figure.new("#{what}: p99 of #{good.count} good requests", good.p99, "ms", ..milliseconds),
     Figure.new("#{what}: good requests lost", good.lost, "", ..0)]
  end

  # Sends an octet to each, five times a second, and takes those away that are closed.
  # @return [Array<Float>] seconds that each was there
  def trickle_until_gone(clients, seconds)
    began = now
    lives = []
    while clients.any? && now - began < seconds
      clients.reject! { |client| gone?(client) && lives.push(now - began) }
      sleep 0.2
    end
    lives
  end

  def gone?(client)
    return true if client.read_nonblock(1, exception: false).nil?

    client.write("s")
    false
  rescue SystemCallError
    true
  end

  # @return [Array(Integer, Boolean)] the most memory that was used, in KB, and whether an answer came
  def send_megabytes(victim, count)
    socket = victim.connect
    socket.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: #{count << 20}\r\n\r\n")
    part = "u" * (1 << 20)
    peak = Array.new(count) { socket.write(part) && victim.resident }.max
    answered = socket.wait_readable(10) && socket.readpartial(OKAY.size) == OKAY
    [[peak, victim.resident].max, answered]
  ensure
    socket&.close
  end

  def refused?(victim)
    socket = victim.connect
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n")
    socket.read.start_with?("HTTP/1.1 400")
  ensure
    socket&.close
  end

  def first_octets(victim, octets)
    socket = victim.connect
    socket.write(octets)
    socket.wait_readable(10) && socket.readpartial(OKAY.size)
  ensure
    socket&.close
  end

  # @return [Array] the share of a processor that it used, and what the block says of the log from then on
  def over_seconds(victim, seconds)
    mark = victim.mark
    before = victim.processor_seconds
    sleep seconds
    [(victim.processor_seconds - before) / seconds, yield(mark)]
  end

  # In the middle of a head, after a request, in the middle of a body.
  def reset(victim, number)
    socket = victim.connect
    socket.setsockopt(Socket::Option.linger(true, 0))
    body = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
    socket.write([GET[0, 10], GET, body][number % 3])
  ensure
    socket&.close
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
