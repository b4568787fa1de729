# frozen_string_literal: true

require "ipaddr"

# A second reading of what a client sent: all of it at once, by regular expressions, without limits and without hurry.
# It follows RFC 9112, and Puma's grammar where that is known; where the server reads something else, one of the two is
# wrong.
class StrictReading
  # @!attribute verb [String] the method
  # @!attribute target [String] without its fragment
  # @!attribute body [String] decoded
  # @!attribute served [Boolean] false for a method that the server does not let pass
  Request = Struct.new(:verb, :target, :body, :served)

  # Something complete that must be refused.
  class Refused < StandardError; end
  # The octets end before the message does.
  class Unfinished < StandardError; end

  METHOD = /[A-Z0-9$\-_.]{1,20}/n
  TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/n
  HOST_OCTET = /[A-Za-z0-9\-._~!$&'()*+,;=]/n
  # As much of a target as has a meaning: everything but controls, space, quotes and angle brackets.
  TARGET_OCTET = /[^\x00-\x20\x7f"#<>]/n
  REQUEST_LINE = %r{\A(#{METHOD}) (#{TARGET_OCTET}+)(?:\#((?:#{TARGET_OCTET})*))? HTTP/(\d+)\.(\d+)\z}n
  SCHEME = %r{\A[A-Za-z][A-Za-z0-9+\-.]*://([^/?]*)}n
  FIELD = /\A(#{TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\z/n
  QUOTED = /"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*"/n
  EXTENSION = /[ \t]*;[ \t]*#{TOKEN}(?:[ \t]*=[ \t]*(?:#{TOKEN}|#{QUOTED}))?/n
  CHUNK_LINE = /\A(\h{1,16})(#{EXTENSION})*\z/n
  CODINGS = %w[gzip deflate compress].freeze
  SERVED = %w[HEAD GET POST PUT DELETE OPTIONS TRACE PATCH QUERY].freeze

  # @return [Array<Request>]
  attr_reader :requests
  # @return [Symbol] how it goes on after them: `:closed`, `:refused` or `:unfinished`
  attr_reader :ending

  # @param octets [String] everything up to the end of the client's stream
  def initialize(octets)
    @rest = octets.b
    @requests = []
    @ending = :closed
    @rest = @rest.delete_prefix("\r\n") while read_one == :more
  rescue Refused
    @ending = :refused
  rescue Unfinished
    @ending = :unfinished
  end

  private

  # @return [Symbol] `:more` when another request may follow
  def read_one
    @rest = @rest.delete_prefix("\r\n") if @requests.empty?
    head, after = @rest.split("\r\n\r\n", 2)
    raise Unfinished unless after

    line, *lines = head.split("\r\n", -1)
    method, target, version = read_request_line(line)
    fields = lines.map { |field| read_field(field) }
    check_host(fields)
    @rest = after
    lasts = persistence(fields, version)
    body, both = read_body(fields, version)
    @requests << Request.new(method, target, body, SERVED.include?(method))
    lasts && !both && @requests.last.served ? :more : :last
  end

  def read_request_line(line)
    method, target, fragment, major, minor = REQUEST_LINE.match(line.to_s)&.captures
    raise Refused unless method && legal_form?(target) && "HTTP/#{major}.#{minor}".size < 16

    _ = fragment
    [method, target, "#{major}.#{minor}"]
  end

  def legal_form?(target)
    path, query = target.split("?", 2)
    return true if target.start_with?("/") || path == "*"
    return authority?(path[SCHEME, 1]) if path&.match?(SCHEME)

    !query && path.match?(/:\d+\z/n) && authority?(path)
  end

  def authority?(text)
    host, port = text.match(/\A(\[[^\]]*\]|[^:]*)(?::(\d*))?\z/n)&.captures
    return false unless host && port.to_i <= 65_535

    literal = host[/\A\[(.*)\]\z/n, 1]
    return host.match?(/\A(?:#{HOST_OCTET}|%\h\h)+\z/n) unless literal

    literal.match?(/\Av\h+\.(?:#{HOST_OCTET}|:)+\z/in) || ipv6?(literal)
  end

  def ipv6?(text)
    text.match?(/\A[\h:.]+\z/n) && IPAddr.new(text).ipv6?
  rescue IPAddr::Error
    false
  end

  def read_field(line)
    name, value = FIELD.match(line)&.captures
    raise Refused unless name

    [name.downcase, value]
  end

  def values(fields, name) = fields.select { |other, _| other == name }.map(&:last)

  def check_host(fields)
    hosts = values(fields, "host")
    raise Refused if hosts.size > 1 || (hosts.any? && !hosts.first.empty? && !authority?(hosts.first))
  end

  def persistence(fields, version)
    options = values(fields, "connection").flat_map { |value| value.split(",") }.map { |one| strip(one).downcase }
    return false if options.include?("close")

    version == "1.1" || (version == "1.0" && options.include?("keep-alive"))
  end

  # @return [Array(String, Boolean)] the body, and whether both framings were there
  def read_body(fields, version)
    lengths = values(fields, "content-length")
    raise Refused if lengths.size > 1 || lengths.any? { |value| !value.match?(/\A\d+\z/n) || value.to_i >= 2**64 }

    coding = values(fields, "transfer-encoding")
    return [take(lengths.first.to_i), false] if coding.empty?

    *before, last = coding.flat_map { |value| value.split(",") }.map { |one| strip(one).downcase } - [""]
    raise Refused unless last == "chunked" && (before - CODINGS).empty? && version == "1.1"

    [read_chunks, lengths.any?]
  end

  def read_chunks
    body = "".b
    loop do
      match = CHUNK_LINE.match(take_line)
      raise Refused unless match

      size = match[1].hex
      return body if size.zero? && read_trailers

      body << take(size)
      raise Unfinished if @rest.bytesize < 2 && "\r\n".start_with?(@rest)
      raise Refused unless take(2) == "\r\n"
    end
  end

  def read_trailers
    until (line = take_line).empty?
      read_field(line)
    end
    true
  end

  def take_line
    line, rest = @rest.split("\r\n", 2)
    raise Unfinished unless rest

    @rest = rest
    line
  end

  def take(size)
    raise Unfinished if @rest.bytesize < size

    @rest.slice!(0, size)
  end

  def strip(text) = text.gsub(/\A[ \t]+|[ \t]+\z/n, "")
end
