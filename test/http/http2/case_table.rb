# frozen_string_literal: true

require_relative "../../helpers/http2_client"

# What a client of HTTP/2 may send, and what must come of it. The tables are in cases/*.rb, by the sections of the RFCs.
module Http2CaseTable
  # One thing that a client does.
  #
  # @!attribute name [String] section and what it is
  # @!attribute steps [Array<String, Integer>] octets that are sent after the preface and the client's settings, and
  #   streams to wait for
  # @!attribute outcome [Symbol] `:answers`, `:goes_on`, `:resets` or `:ends`
  # @!attribute stream [Integer] the stream that it happens to
  # @!attribute wanted [Array] statuses or reasons, one of which is right
  # @!attribute settings [Hash] the client's
  # @!attribute preface [String, nil] instead of the usual one and the settings
  Case = Struct.new(:name, :steps, :outcome, :stream, :wanted, :settings, :preface, keyword_init: true)

  # The words of the tables.
  class Table
    include Http2Frames

    attr_reader :cases

    def initialize = @cases = []

    # Whose rule the following cases are.
    def section(text) = @section = text

    # The stream is answered with one of these statuses.
    def answers(name, *steps, status: 200, **options) = add(name, steps, :answers, status, **options)

    # Nothing happens, and the next request is answered.
    def goes_on(name, *steps, **options) = add(name, steps, :goes_on, nil, **options)

    # The stream is reset for one of these reasons, and the connection goes on.
    def resets(name, reasons, *steps, **options) = add(name, steps, :resets, reasons, **options)

    # The connection ends, and the client is told one of these reasons.
    def ends(name, reasons, *steps, **options) = add(name, steps, :ends, reasons, **options)

    private

    def add(name, steps, outcome, wanted, stream: 1, settings: {}, preface: nil)
      @cases << Case.new(name: "#{@section}: #{name}", steps:, outcome:, stream:, wanted: [*wanted], settings:,
                         preface:)
    end

    # A request's fields, with some instead or besides; `nil` leaves one out.
    def fields(changes = {}, *more)
      changes = changes.transform_keys(&:to_s)
      kept = GET.map { |name, value| [name, changes.key?(name) ? changes[name] : value] }.select(&:last)
      kept + changes.reject { |name, _| GET.assoc(name) }.to_a + more
    end
  end

  def self.load
    Dir[File.join(__dir__, "cases/*.rb")].flat_map do |file|
      table = Table.new
      table.instance_eval(File.read(file), file)
      table.cases
    end
  end
end
