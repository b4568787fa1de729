# frozen_string_literal: true

# Makes what a hostile client might send: requests that are nearly right.
class RequestMill
  METHODS = %w[GET GET GET POST POST PUT HEAD OPTIONS DELETE PATCH TRACE PROPFIND CONNECT PRI get G A-Z].freeze
  TARGETS = ["/", "/a", "/a?b=c", "/%2e", "//h", "/a#b", "/?", "*", "http://h/a", "http://h", "https://u@h/", "h:80",
             "/a b", "/\xC3\xA4", "/|^{}", "a", "", "http://[::1]:80/x?y", "/a?b#c", "http://h:65536/"].map(&:b).freeze
  VERSIONS = %w[HTTP/1.1 HTTP/1.0 HTTP/1.0 HTTP/2.0 HTTP/1.2 http/1.1 HTTP/1 HTTP/1.10].freeze
  GOOD_FIELDS = ["Connection: keep-alive", "connection: Keep-Alive", "X: y", "X:", "X: \t y", "X_Y: z",
                 "Expect: 100-continue", "Expect: x", "Upgrade: h2c", "Trailer: X", "Content-Type: text/plain",
                 "Content_Length: 5", "TE: chunked", "Transfer_Encoding: chunked", "Cookie: a=b"].freeze
  FIELDS = ["Host: h", "Host: a, b", "Host:", "Host: [::1]:80", "Connection: close", "Connection: TE, close",
            "X: \x80\xFF", "X : y", "X", ": y", " X: y", "X: a\0b", "X: a\rb"].map(&:b).freeze
  LENGTHS = ["0", "3", "5", "05", "+5", "5, 5", "", "-1", "5 ", "0x5", "1e1", "18446744073709551616", "99999"].freeze
  CODINGS = ["chunked", "chunked", "chunked", "Chunked", "gzip, chunked", "chunked, gzip", "chunked, chunked",
             "identity", "", "xchunked", "\tchunked ", ", chunked", "chunked,", "gzip", "\vchunked",
             "chunked;q=1"].freeze
  SIZES = ["5", "5", "05", "5;a", "5;a=b", "5 ;a=\"b\\\"\"", "0x5", "+5", "", "5 ", "6", "4", "g", "00000000000000005",
           "5;", "5;a=", "fffffffffffffffff", "-5"].freeze
  PIECES = ["\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "=", "\"", "\\", "0", "1", "5", "f", "_", "-", "\0", "\x7F",
            "\xA0", "#", "?", "/", "chunked", "\r\n\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: x\r\n", "0\r\n\r\n", "Host: a\r\n", "HTTP/1.0", "HTTP/1.1",
            "GET / HTTP/1.1\r\n\r\n", "\r\n ", "\v"].map(&:b).freeze

  # @param seed [Integer]
  def initialize(seed)
    @random = Random.new(seed)
  end

  # @return [String] what one client sends
  def octets
    stream = Array.new(1 + @random.rand(3)) { request }.join
    mutations = [0, 0, 0, 0, 0, 1, 1, 2, 4][@random.rand(9)]
    mutations.times { mutate(stream) }
    stream
  end

  # @return [Array<Integer>] where it is cut into packets
  def cuts(size)
    cuts = Array.new(@random.rand(5)) { 1 + @random.rand(size) }
    cuts.uniq.sort.select { |at| at < size }
  end

  private

  def pick(list) = list[@random.rand(list.size)]
  def chance(one_in) = @random.rand(one_in).zero?

  def request
    method = chance(20) ? pick(METHODS) : pick(METHODS.first(11))
    target = chance(10) ? pick(TARGETS) : pick(TARGETS.first(5))
    lines = ["#{method} #{target} #{chance(12) ? pick(VERSIONS) : "HTTP/1.1"}", "Host: h"]
    @random.rand(3).times { lines << (chance(10) ? pick(FIELDS) : pick(GOOD_FIELDS)) } if chance(2)
    body = add_body(lines)
    lines << lines.delete_at(1) if chance(4)
    "#{"\r\n" if chance(20)}#{lines.join("\r\n")}\r\n\r\n#{body}".b
  end

  # Adds the framing to `lines`. @return [String]
  def add_body(lines)
    case @random.rand(6)
    when 0, 1 then ""
    when 2
      lines << "Content-Length: #{chance(3) ? pick(LENGTHS) : 5}"
      pick(["hello", "", "hello", "hel", "helloGET / HTTP/1.1\r\n\r\n"])
    when 3
      body = Array.new(@random.rand(30)) { pick(PIECES) }.join
      lines << "Content-Length: #{body.bytesize}"
      body
    else
      lines << "#{pick(%w[Transfer-Encoding transfer-encoding])}: #{chance(8) ? pick(CODINGS) : "chunked"}"
      lines << "Content-Length: #{pick(LENGTHS)}" if chance(12)
      chunks
    end
  end

  def chunks
    sizes = Array.new(@random.rand(4)) { chance(12) ? pick(SIZES) : "5" }
    data = sizes.map { |size| "#{size}\r\nhello#{chance(30) ? pick(PIECES) : "\r\n"}" }.join
    "#{data}#{chance(30) ? pick(SIZES) : "0"}\r\n#{"A: b\r\n" if chance(5)}#{"\r\n" unless chance(20)}"
  end

  def mutate(stream)
    at = @random.rand(stream.bytesize + 1)
    case @random.rand(5)
    when 0 then stream.insert(at, pick(PIECES))
    when 1 then stream.slice!(at, 1 + @random.rand(3))
    when 2 then stream[at, 1] = pick(PIECES) if at < stream.bytesize
    when 3 then stream.insert(at, stream.byteslice(@random.rand(stream.bytesize), 1 + @random.rand(20)).to_s)
    else stream.setbyte(at, @random.rand(256)) if at < stream.bytesize
    end
  end
end
