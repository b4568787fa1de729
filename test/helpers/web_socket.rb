# frozen_string_literal: true

require "digest"
require "io/wait"
require "json"
require "securerandom"
require_relative "patience"

# A client of WebSocket (RFC 6455), as small as tests need it: text messages of one frame, pings answered.
class WebSocket
  class Closed < StandardError; end

  TEXT = 1
  CLOSE = 8
  PING = 9
  PONG = 10

  attr_reader :status, :protocol

  # @param socket [IO] connected; with TLS, through its handshake
  def initialize(socket, path, host: "localhost", origin: "http://#{host}", protocol: nil, timeout: 20)
    @socket = socket
    @octets = String.new
    key = SecureRandom.base64(16)
    offer = "Sec-WebSocket-Protocol: #{protocol}\r\n" if protocol
    socket.write("GET #{path} HTTP/1.1\r\nHost: #{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                 "Origin: #{origin}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: #{key}\r\n#{offer}\r\n")
    read_head(key, timeout)
  end

  # @return [Boolean] whether the server speaks WebSocket
  def open? = @status == 101

  def send_text(text) = send_frame(TEXT, text)

  # The next message.
  # @raise [Closed] there will be none
  # @raise [Timeout::Error] there was none in time
  def receive(timeout: 20)
    @deadline = now + Patience.for(timeout)
    loop do
      opcode, text = read_frame
      case opcode
      when TEXT then return text.force_encoding("UTF-8")
      when PING then send_frame(PONG, text)
      when CLOSE then raise Closed, "the server said good-bye: #{text.unpack1("n")} #{text[2..]}"
      end
    end
  end

  # Says good-bye and leaves.
  def close
    send_frame(CLOSE, [1000].pack("n")) if open?
  rescue SystemCallError, IOError
    nil # it is gone already
  ensure
    @socket.close
  end

  private

  def read_head(key, timeout)
    @deadline = now + Patience.for(timeout)
    more until (length = @octets.index("\r\n\r\n"))
    head = @octets.slice!(0, length + 4)
    @status = head[%r{\AHTTP/1\.1 (\d{3})}, 1].to_i
    @protocol = head[/^Sec-WebSocket-Protocol: *(.*?)\r$/i, 1]
    accepted = Digest::SHA1.base64digest("#{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    raise Closed, "not our key: #{head}" if open? && head[/^Sec-WebSocket-Accept: *(.*?)\r$/i, 1] != accepted
  end

  def read_frame
    first, second = take(2).unpack("CC")
    length = second & 127
    length = take(2).unpack1("n") if length == 126
    length = take(8).unpack1("Q>") if length == 127
    [first & 15, take(length)]
  end

  # What a client sends is masked.
  def send_frame(opcode, text)
    mask = Random.bytes(4)
    text = text.b
    length =
      case text.bytesize
      when 0..125 then [128 | text.bytesize].pack("C")
      when 126..65_535 then [128 | 126, text.bytesize].pack("Cn")
      else [128 | 127, text.bytesize].pack("CQ>")
      end
    key = mask.bytes
    masked = text.bytes.each_with_index.map { |octet, index| octet ^ key[index % 4] }.pack("C*")
    @socket.write([128 | opcode].pack("C") << length << mask << masked)
  end

  def take(count)
    more while @octets.bytesize < count
    @octets.slice!(0, count)
  end

  def more
    case part = @socket.read_nonblock(65_536, exception: false)
    when String then @octets << part.b
    when nil then raise Closed, "the connection ended"
    else
      left = @deadline - now
      raise Timeout::Error, "nothing more in time" unless left.positive? && @socket.to_io.wait_readable(left)
    end
  rescue Errno::ECONNRESET, Errno::EPIPE => e
    raise Closed, e.message
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

# A subscription to a channel of Action Cable.
class CableClient
  # Returns when the subscription is confirmed.
  def initialize(socket, channel, **options)
    @identifier = { channel: }.to_json
    @socket = WebSocket.new(socket, "/cable", protocol: "actioncable-v1-json", **options)
    raise WebSocket::Closed, "refused with #{@socket.status}" unless @socket.open?

    wait_for("welcome")
    @socket.send_text({ command: "subscribe", identifier: @identifier }.to_json)
    wait_for("confirm_subscription")
  rescue StandardError
    @socket&.close
    raise
  end

  def perform(action, data)
    @socket.send_text({ command: "message", identifier: @identifier, data: data.merge(action:).to_json }.to_json)
  end

  # The next message of the channel.
  def receive(timeout: 20)
    deadline = now + Patience.for(timeout)
    loop do
      # Action Cable itself says something every three seconds.
      message = JSON.parse(@socket.receive(timeout: deadline - now))
      return message.fetch("message") if message["identifier"] == @identifier && !message["type"]
    end
  end

  def close = @socket.close

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def wait_for(type)
    nil until JSON.parse(@socket.receive)["type"] == type
  end
end
