# frozen_string_literal: true

# Responses as a client without any tolerance reads them: RFC 9112's grammar to the letter.
module Answers
  # @!attribute status [Integer]
  # @!attribute fields [Array<Array(String, String)>]
  # @!attribute body [String] decoded
  # @!attribute ending [Symbol] how its end was found: `:none`, `:length`, `:chunked` or `:close`
  Answer = Struct.new(:status, :fields, :body, :ending) do
    def [](name) = fields.find { |other, _| other.casecmp?(name) }&.last
  end

  # What cannot be read in this way.
  class Malformed < StandardError; end

  # @!attribute answers [Array<Answer>] the whole ones; interim ones stand before theirs
  # @!attribute rest [String] what follows them: the beginning of one that was cut off, or nothing
  Reading = Struct.new(:answers, :rest)

  STATUS_LINE = %r{\AHTTP/1\.[01] ([1-9]\d\d) [\t\x20-\x7e]*\z}n
  FIELD_LINE = /\A([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t\x20-\x7e\x80-\xff]*)\z/n
  private_constant :STATUS_LINE, :FIELD_LINE

  class << self
    # @param octets [String] everything that came up to the end of the connection
    # @param methods [Array<String>] of the requests, in their order
    # @return [Reading]
    # @raise [Malformed]
    def read(octets, methods)
      answers = []
      rest = octets.b
      methods.each do |method|
        loop do
          return Reading.new(answers, rest) unless (answer, after = read_one(rest, method))

          answers << answer
          rest = after
          break if answer.status >= 200 || answer.status == 101
        end
      end
      Reading.new(answers, rest)
    end

    private

    # @return [Array(Answer, String), nil] nil when it is not all there
    def read_one(octets, method)
      head, after = octets.split("\r\n\r\n", 2)
      lines = head.to_s.split("\r\n", -1)
      lines.pop unless after # the last one may be cut
      status = read_status(lines.shift) or return
      fields = lines.map { |line| read_field(line) }
      return unless after

      ending, body, rest = read_body(status, fields, method, after)
      [Answer.new(status, fields, body, ending), rest] if body
    end

    def read_status(line)
      return unless line

      line[STATUS_LINE, 1]&.to_i or raise Malformed, "status line #{line.inspect[0, 200]}"
    end

    def read_field(line)
      FIELD_LINE.match(line)&.captures or raise Malformed, "field line #{line.inspect[0, 200]}"
    end

    def read_body(status, fields, method, after)
      length = one(fields, "content-length")
      coding = one(fields, "transfer-encoding")
      raise Malformed, "a length and a coding" if length && coding
      raise Malformed, "Content-Length: #{length}" unless length.nil? || length.match?(/\A\d+\z/)
      return [:none, "", after] if status < 200 || [204, 304].include?(status) || method == "HEAD"
      return read_chunks(after) if coding&.casecmp?("chunked")
      return [:close, after, ""] unless length && !coding

      size = length.to_i
      [:length, after.byteslice(0, size), after.byteslice(size..)] if after.bytesize >= size
    end

    def one(fields, name)
      values = fields.select { |other, _| other.casecmp?(name) }.map(&:last)
      raise Malformed, "#{name} several times" if values.size > 1

      values.first
    end

    def read_chunks(octets)
      body = "".b
      loop do
        line, octets = octets.split("\r\n", 2)
        return unless octets
        raise Malformed, "chunk size #{line.inspect[0, 100]}" unless line.match?(/\A\h{1,16}\z/)

        size = line.hex
        return if octets.bytesize < size + 2
        raise Malformed, "no CRLF after a chunk" unless octets.byteslice(size, 2) == "\r\n"

        body << octets.byteslice(0, size)
        octets = octets.byteslice((size + 2)..)
        return [:chunked, body, octets] if size.zero?
      end
    end
  end
end
