# frozen_string_literal: true

require "socket"
require "io/wait"

# One connection on which the octets of a case are sent, in parts, and everything that comes back is read.
class Conversation
  # Follows a case in its last packet: what shows that the server is in step, and ends the connection.
  PROBE = "GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".b

  attr_reader :kase, :cuts, :port, :answer

  # @param kase [CaseTable::Case] or something that judges for itself (`fault`)
  # @param cuts [Array<Integer>] offsets at which the octets are cut into packets
  def initialize(kase, cuts, host, port)
    @kase = kase
    @cuts = cuts
    octets = kase.incomplete ? kase.octets : kase.octets + PROBE
    @parts = [0, *cuts, octets.bytesize].each_cons(2).map { |from, to| octets.byteslice(from...to) }
    @socket = TCPSocket.new(host, port)
    @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    # Closing sends a reset, so that ports are not kept for a minute each.
    @socket.setsockopt(Socket::Option.linger(true, 0))
    @port = @socket.local_address.ip_port
    @answer = "".b
  end

  # Sends the next part. @return [Boolean] whether there are more
  def send_part
    @socket.write(@parts.shift) if @parts.any?
    @socket.close_write if @parts.empty? && @kase.incomplete
    @parts.any?
  rescue Errno::EPIPE, Errno::ECONNRESET, Errno::ENOTCONN
    false # refused and closed; what was answered can still be read
  end

  # Reads up to the end of the connection, until `deadline` at most.
  def finish(deadline)
    loop do
      case part = @socket.read_nonblock(65_536, exception: false)
      when String then @answer << part
      when nil then break @ending = :closed
      else break @ending = :open unless (left = deadline - Conversation.now).positive? && @socket.wait_readable(left)
      end
    end
  rescue Errno::ECONNRESET
    @ending = :reset
  ensure
    @socket.close
  end

  # @param seen [Array<Hash>] what the oracle noted for this connection's port
  # @return [String, nil] what is wrong, for every outcome that was allowed
  def fault(seen)
    return "the connection is still open" if @ending == :open
    return "reset after #{@answer.inspect[0, 300]}" if @ending == :reset && !@answer.empty?
    return @kase.fault(@answer, requests(seen)) if @kase.respond_to?(:fault)

    faults = @kase.outcomes.map { |outcome| fault_of(outcome, seen) }
    faults.join("; or: ") if faults.all?
  end

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  private

  def fault_of(outcome, seen)
    wanted = outcome.requests.map { |request| request.b.split(/ /, 3) }
    wanted << %w[GET /probe] unless outcome.closes
    got = requests(seen)
    wanted.each { |request| request[2] ||= "" }
    return "the application saw #{got.inspect[0, 600]}, not #{wanted.inspect[0, 600]}" if got != wanted

    answers = wanted.map { |method, _| [method, 200] }
    answers.insert(outcome.requests.size, ["GET", outcome.declined]) if outcome.declined
    env_fault(seen) || answer_fault(outcome, answers)
  end

  def env_fault(seen)
    @kase.env.each do |key, value|
      got = seen.first["env"][key]&.then { |text| octets(text) }
      return "#{key} is #{got.inspect}, not #{value.inspect}" if got != value&.b
    end
    nil
  end

  # Method, target and body of each.
  def requests(seen)
    texts = seen.map { |one| [*one["env"].values_at("REQUEST_METHOD", "REQUEST_URI"), one["body"]] }
    texts.each { |request| request.map! { |text| octets(text) } }
  end

  # What the oracle made JSON's text from.
  def octets(text) = text.encode(Encoding::ISO_8859_1).b

  # Whether there is one answer to each method, with that status, perhaps a refusal, and nothing more.
  def answer_fault(outcome, answers)
    rest = @answer
    answers.each do |method, status|
      head, rest = take_head(rest)
      return "no answer to #{method} in #{@answer.inspect[0, 600]}" unless head
      return "answered #{head[/.*/]} to #{method}" unless head.match?(%r{\AHTTP/1\.[01] #{status} })

      rest = rest.byteslice(head[/^content-length: (\d+)\r$/i, 1].to_i..) unless method == "HEAD"
      return "an answer's body is cut short" unless rest
    end
    # Who has closed its half is asked whether it is there, when its request has waited for long.
    refusal_fault(outcome.refusal, rest.delete_prefix("HTTP/1.1 100 Continue\r\n\r\n"))
  end

  def refusal_fault(status, answer)
    return ("octets after the last answer: #{answer.inspect[0, 300]}" unless answer.empty?) unless status

    head, body = answer.split("\r\n\r\n", 2)
    return "no refusal, but #{@answer.inspect[0, 600]}" unless body
    return "refused with #{head[/.*/]}, not #{status}" unless head.match?(%r{\AHTTP/1\.[01] #{status} })

    # Puma up to level 7 does not announce it after a 413; here it closes all the same.
    announced = status == 413 || head.match?(/^connection: close\r?$/i)
    return "the refusal has no Connection: close: #{head.inspect}" unless announced

    lengths = head.scan(/^content-length: (\d+)\r?$/i).flatten
    "the refusal is not framed: #{answer.inspect[0, 300]}" if lengths != [body.bytesize.to_s]
  end

  # The head of the next final response, and what follows it.
  def take_head(answer)
    head, rest = answer.split("\r\n\r\n", 2)
    return unless rest
    # Who has closed its half may be asked whether it still reads.
    return take_head(rest) if (@kase.continue || @kase.incomplete) && head == "HTTP/1.1 100 Continue"

    ["#{head}\r\n", rest]
  end
end
