# frozen_string_literal: true

require "io/wait"
require_relative "patience"

# Reads HTTP responses from a socket, each with a deadline. Written for tests: it trusts the server's framing, and says
# what had arrived when a response does not come to its end.
class ResponseReader
  # @!attribute head [String] status line and fields, without the empty line
  # @!attribute body [String] the content, dechunked
  # @!attribute informational [Array<String>] heads of the 1xx responses before it
  Response = Struct.new(:head, :body, :informational) do
    def status = head[%r{\AHTTP/1\.[01] (\d{3})}, 1].to_i
    def [](name) = head[/^#{Regexp.escape(name)}: *(.*?)\r?$/i, 1]
    def fields = head.lines(chomp: true).drop(1).map { |line| line.split(/: */, 2) }
  end

  # @param io [IO] the client's end
  def initialize(io)
    @io = io
    @octets = String.new
  end

  # @param timeout [Numeric] seconds until the whole response must be there
  # @param head_only [Boolean] the response to HEAD: no body follows
  # @return [Response]
  # @raise [Timeout::Error, EOFError]
  def receive(timeout: 10, head_only: false)
    @deadline = now + Patience.for(timeout)
    informational = []
    head = read_head
    while head.match?(%r{\AHTTP/1\.1 1(?!01)})
      informational << head
      head = read_head
    end
    Response.new(head, head_only ? +"" : read_body(head), informational)
  end

  # Octets that arrived and belong to no response yet.
  def rest = @octets

  # Whether the server closed the connection, within `timeout` seconds and without sending anything more.
  def closed?(timeout: 5)
    @io.to_io.wait_readable(Patience.for(timeout)) && @octets.empty? && @io.read_nonblock(1, exception: false).nil?
  rescue Errno::ECONNRESET
    true
  end

  private

  def read_head
    more until (length = @octets.index("\r\n\r\n"))
    @octets.slice!(0, length + 4).delete_suffix("\r\n\r\n")
  end

  def read_body(head)
    return +"" if head.match?(%r{\AHTTP/1\.[01] (?:1\d\d|204|304)})
    return read_chunks if head.match?(/^Transfer-Encoding: *chunked/i)

    length = head[/^Content-Length: *(\d+)/i, 1]
    length ? take(length.to_i) : read_to_end
  end

  def read_chunks
    whole = +""
    loop do
      more until (length = @octets.index("\r\n"))
      size = Integer(@octets.slice!(0, length + 2).chomp, 16)
      whole << take(size)
      take(2)
      return whole if size.zero?
    end
  end

  def read_to_end
    loop { more }
  rescue EOFError, Errno::ECONNRESET
    @octets.slice!(0..)
  end

  def take(size)
    more while @octets.bytesize < size
    @octets.slice!(0, size)
  end

  def more
    case part = @io.read_nonblock(65_536, exception: false)
    when String then @octets << part.b
    when nil then raise EOFError, "connection closed after #{@octets.inspect[0, 300]}"
    else
      left = @deadline - now
      # A TLS socket may have to write before it can read.
      ready = left.positive? && (part == :wait_readable ? @io.to_io.wait_readable(left) : @io.to_io.wait_writable(left))
      raise Timeout::Error, "no whole response in time, got #{@octets.inspect[0, 300]}" unless ready
    end
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
