# frozen_string_literal: true

require "socket"
require_relative "http2_fields"
require_relative "patience"

# Frames of HTTP/2 as octets, well-formed or not.
module Http2Frames
  PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".b
  TYPES = { data: 0, headers: 1, priority: 2, rst_stream: 3, settings: 4, push_promise: 5, ping: 6, goaway: 7,
            window_update: 8, continuation: 9 }.freeze
  REASONS = %i[no_error protocol_error internal_error flow_control_error settings_timeout stream_closed
               frame_size_error refused_stream cancel compression_error connect_error enhance_your_calm].freeze
  END_STREAM = 1
  ACK = 1
  END_HEADERS = 4
  PADDED = 8
  PRIORITY = 0x20
  # Ends a request's head; with a body to come.
  WHOLE = END_STREAM | END_HEADERS
  GET = [%w[:method GET], %w[:scheme http], %w[:path /], %w[:authority localhost]].freeze
  POST = [%w[:method POST], %w[:scheme http], %w[:path /], %w[:authority localhost]].freeze

  module_function

  def frame(type, flags, stream, payload = "", length: payload.bytesize)
    [length >> 16, length & 0xffff, TYPES.fetch(type, type), flags, stream].pack("CnCCN") + payload.b
  end

  def headers(stream, fields = GET, flags = WHOLE, before: "") = frame(:headers, flags, stream, before + pack(fields))
  def data(stream, octets, flags = END_STREAM) = frame(:data, flags, stream, octets)
  def settings(values = {}) = frame(:settings, 0, 0, values.map { |pair| pair.pack("nN") }.join)
  def window_update(stream, octets) = frame(:window_update, 0, stream, [octets].pack("N"))
  def rst_stream(stream, reason = :cancel) = frame(:rst_stream, 0, stream, [REASONS.index(reason)].pack("N"))
  def ping(octets = "12345678", flags = 0) = frame(:ping, flags, 0, octets)
  def pack(fields) = Http2Fields.pack(fields)
end

# One connection of HTTP/2, for tests: it sends what it is told to, and reads frames.
class Http2Client
  Frame = Struct.new(:type, :flags, :stream, :payload) do
    def ends_stream? = %i[data headers].include?(type) && flags.anybits?(Http2Frames::END_STREAM)

    # Why, of RST_STREAM and GOAWAY.
    def reason
      Http2Frames::REASONS[payload.unpack1(type == :goaway ? "@4N" : "N")]
    end

    def last_stream = payload.unpack1("N")
  end

  # What came on one stream.
  Answer = Struct.new(:heads, :body, :trailers, :reset) do
    def status = heads.last&.assoc(":status")&.last&.to_i
    def statuses = heads.map { |fields| fields.assoc(":status").last.to_i }

    # @return [String, Array<String>, nil] the value of a field, or all of them
    def [](name)
      values = heads.last.select { |field, _| field == name }.map(&:last)
      values.size > 1 ? values : values.first
    end
  end

  attr_reader :answers, :goaways, :socket

  # @param settings [Hash{Integer => Integer}] the client's own
  def initialize(socket, settings: {}, preface: Http2Frames::PREFACE)
    @socket = socket
    @fields = Http2Fields.new
    @answers = Hash.new { |all, stream| all[stream] = Answer.new([], "".b, nil, nil) }
    @ended = {}
    @goaways = []
    @pongs = []
    @next = 1
    @buffer = "".b
    write(preface + Http2Frames.settings(settings)) if preface
  end

  def write(octets) = @socket.write(octets)

  # Begins a request.
  #
  # @return [Integer] its stream
  def begin_request(path = "/", method: "GET", fields: [], body: nil, ended: true)
    stream = @next
    @next += 2
    head = [[":method", method], %w[:scheme http], [":path", path], %w[:authority localhost], *fields]
    ended &&= !body
    write(Http2Frames.headers(stream, head, ended ? Http2Frames::WHOLE : Http2Frames::END_HEADERS))
    write(Http2Frames.data(stream, body)) if body
    stream
  end

  # @return [Answer]
  def request(...) = await(begin_request(...))

  # Reads until the stream is over.
  #
  # @return [Answer]
  def await(stream, timeout: 10)
    read_until(timeout) { @ended[stream] }
    @answers[stream]
  end

  # Reads until the server has answered a PING: then it has understood all that was sent before.
  def sync(timeout: 10)
    octets = [@next, @pongs.size].pack("NN")
    write(Http2Frames.ping(octets))
    read_until(timeout) { @pongs.include?(octets) }
  end

  # Reads until the server closes the connection.
  def read_all(timeout: 10)
    read_until(timeout) { false }
  rescue EOFError, Errno::ECONNRESET, Errno::EPIPE
    nil
  end

  # Reads frames until the block says so.
  #
  # @raise [EOFError] the server has closed the connection
  def read_until(timeout)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + Patience.for(timeout)
    note(read_frame(deadline)) until yield
  end

  # @return [Frame]
  def read_frame(deadline)
    fill(9, deadline)
    high, low, type, flags, stream = @buffer.unpack("CnCCN")
    length = (high << 16) + low
    fill(9 + length, deadline)
    @buffer.slice!(0, 9)
    Frame.new(Http2Frames::TYPES.key(type), flags, stream & 0x7fffffff, @buffer.slice!(0, length))
  end

  # Takes note of a frame, and answers it where it wants one.
  def note(frame)
    case frame.type
    when :headers, :continuation then note_head(frame)
    when :data then @answers[frame.stream].body << frame.payload
    when :rst_stream then @answers[frame.stream].reset ||= frame.reason
    when :goaway then @goaways << frame
    when :ping then @pongs << frame.payload if frame.flags.anybits?(Http2Frames::ACK)
    when :settings then write(Http2Frames.frame(:settings, Http2Frames::ACK, 0)) if frame.flags.zero?
    end
    @ended[frame.stream] = true if frame.ends_stream? || frame.type == :rst_stream
    frame
  end

  def ended?(stream) = @ended[stream]

  # Lets the server send so much more.
  def open_window(octets, stream: nil)
    write(Http2Frames.window_update(0, octets))
    write(Http2Frames.window_update(stream, octets)) if stream
  end

  def close = @socket.close

  private

  def note_head(frame)
    @ended[frame.stream] = true if frame.ends_stream?
    (@block ||= "".b) << frame.payload
    return if frame.flags.nobits?(Http2Frames::END_HEADERS)

    fields = @fields.unpack(@block)
    @block = nil
    answer = @answers[frame.stream]
    fields.assoc(":status") ? answer.heads << fields : answer.trailers = fields
  end

  # TLS may hold what the socket has given already.
  def readable?(timeout)
    (@socket.respond_to?(:pending) && @socket.pending.positive?) || @socket.to_io.wait_readable(timeout)
  end

  def fill(length, deadline)
    while @buffer.bytesize < length
      left = deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC)
      raise Timeout::Error, "no frame in time" if left.negative? || !readable?(left)

      @buffer << @socket.readpartial(65_536)
    end
  end
end
