# frozen_string_literal: true

# HPACK (RFC 7541), as much of it as a test's client needs: it writes fields out, and reads what rserve writes, which
# keeps no table.
class Http2Fields
  LENGTHS = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
    28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
    8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
    13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
    28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
    22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
    22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
    25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30
  ].freeze
  NAMES = %w[
    :authority :method :method :path :path :scheme :scheme :status :status :status :status :status :status :status
    accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow
    authorization cache-control content-disposition content-encoding content-language content-length
    content-location content-range content-type cookie date etag expect expires from host if-match
    if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards
    proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie
    strict-transport-security transfer-encoding user-agent vary via www-authenticate
  ].freeze
  STATUSES = { 8 => "200", 9 => "204", 10 => "206", 11 => "304", 12 => "400", 13 => "404", 14 => "500" }.freeze

  # Codes by their bits as text. The code is canonical.
  CODES = begin
    code = length = 0
    (0..256).sort_by { |symbol| [LENGTHS[symbol], symbol] }.to_h do |symbol|
      code <<= LENGTHS[symbol] - length
      length = LENGTHS[symbol]
      [format("%0#{length}b", code).tap { code += 1 }, symbol]
    end
  end

  # Fields as literals that nobody keeps.
  def self.pack(fields)
    fields.map { |name, value| "\0".b + string(name) + string(value) }.join
  end

  def self.string(octets) = integer(octets.bytesize, 7) + octets.b

  def self.integer(value, prefix, pattern = 0)
    most = (1 << prefix) - 1
    return (pattern | value).chr.b if value < most

    octets = [pattern | most]
    value -= most
    (octets << ((value & 0x7f) | 0x80)) && value >>= 7 while value >= 0x80
    (octets << value).pack("C*")
  end

  # @return [Array<Array(String, String)>]
  def unpack(block)
    @octets = block.bytes
    fields = []
    fields.push(*field) until @octets.empty?
    fields
  end

  private

  def field
    first = @octets.first
    if first.anybits?(0x80)
      index = integer(7)
      [[NAMES.fetch(index - 1), STATUSES.fetch(index)]]
    elsif first & 0xe0 == 0x20
      raise "the table has a size" unless integer(5).zero?

      []
    else
      raise "a field is to be kept" if first.anybits?(0x40)

      index = integer(4)
      name = index.zero? ? string : NAMES.fetch(index - 1)
      [[name, string]]
    end
  end

  def integer(prefix)
    most = (1 << prefix) - 1
    value = @octets.shift & most
    return value if value < most

    shift = 0
    loop do
      octet = @octets.shift
      value += (octet & 0x7f) << shift
      shift += 7
      return value if octet < 0x80
    end
  end

  def string
    coded = @octets.first.anybits?(0x80)
    octets = @octets.shift(integer(7))
    return octets.pack("C*") unless coded

    bits = +""
    octets.pack("C*").unpack1("B*").each_char.with_object("".b) do |bit, text|
      bits << bit
      next unless (symbol = CODES[bits])

      text << symbol
      bits.clear
    end
  end
end
