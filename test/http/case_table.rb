# frozen_string_literal: true

# The raw cases: what a client may send, and what may come of it. The tables are in cases/*.rb.
module CaseTable
  # One thing that may happen to the octets of a case.
  #
  # @!attribute requests [Array<String>] what the application sees, each `METHOD TARGET` or `METHOD TARGET BODY`
  # @!attribute declined [Integer, nil] status of the server's own answer to a well-formed request after those
  # @!attribute refusal [Integer, nil] status of the server's own answer after those, the last one
  # @!attribute closes [Boolean] nothing more is read as a request, and the connection ends
  Outcome = Struct.new(:requests, :declined, :refusal, :closes, keyword_init: true)

  # @!attribute name [String] `file: what it is`
  # @!attribute source [String] who says how it must be read
  # @!attribute octets [String] what is sent; a probe request follows, in the same packet, unless the case is incomplete
  # @!attribute outcomes [Array<Outcome>] one of them must happen
  # @!attribute env [Hash{String => String, nil}] what the first request's environment holds; nil is "no such key"
  # @!attribute incomplete [Boolean] the client half-closes after the octets; nothing is to be answered to the last part
  # @!attribute continue [Boolean] a `100 Continue` may come
  Case = Struct.new(:name, :source, :octets, :outcomes, :env, :incomplete, :continue, keyword_init: true)

  # The words of the tables.
  class Table
    attr_reader :cases

    def initialize(file)
      @file = file
      @cases = []
    end

    # Whose rule the following cases are.
    def source(text) = @source = text.dup.force_encoding(Encoding::UTF_8)

    # Read as `requests`; the connection goes on.
    def takes(name, octets, *requests, **options) = add(name, octets, [outcome(requests)], **options)

    # Read as `requests`; the connection ends.
    def takes_last(name, octets, *requests, **options) = add(name, octets, [outcome(requests, closes: true)], **options)

    # Answered by the server with `status`, after `sees` were read.
    def refuses(name, octets, status = 400, sees: [], **options)
      add(name, octets, [outcome(sees, refusal: status)], **options)
    end

    # Well-formed, but not for the application: answered by the server, and the connection goes on.
    def declines(name, octets, status, **options) = add(name, octets, [outcome([], declined: status)], **options)

    # As {#declines}, and the connection ends.
    def declines_last(name, octets, status, sees: [], **options)
      add(name, octets, [outcome(sees, declined: status, closes: true)], **options)
    end

    # The connection ends, and not a word is said.
    def drops(name, octets, **options) = add(name, octets, [outcome([], closes: true)], **options)

    # Either refused with `status`, or read as `requests` and nothing else.
    def refuses_or_takes(name, octets, status, *requests, closes: false, **options)
      add(name, octets, [outcome([], refusal: status), outcome(requests, closes:)], **options)
    end

    # The end is missing: nothing is answered but `sees`.
    def waits(name, octets, sees: [], **options)
      add(name, octets, [outcome(sees, closes: true)], incomplete: true, **options)
    end

    # Octets of a GET, POST or chunked POST with these field lines.
    def get(*fields, target: "/") = message("GET #{target} HTTP/1.1", *fields)
    def post(*fields, body: "", target: "/") = message("POST #{target} HTTP/1.1", *fields) + body
    def chunked(body, *fields, target: "/") = post("Transfer-Encoding: chunked", *fields, body:, target:)

    # A head of these lines; Host comes second unless the lines bring one.
    def message(line, *fields)
      lines = [line, *fields].map(&:b)
      lines.insert(1, "Host: h") unless lines.any? { |one| one.match?(/\Ahost\b/i) }
      "#{lines.join("\r\n")}\r\n\r\n".b
    end

    private

    def outcome(requests, declined: nil, refusal: nil, closes: false)
      Outcome.new(requests: Array(requests), declined:, refusal:, closes: closes || !refusal.nil?)
    end

    def add(name, octets, outcomes, env: {}, incomplete: false, continue: false)
      raise "#{@file}: #{name} has no source" unless @source

      @cases << Case.new(name: "#{@file}: #{name}", source: @source, octets: octets.b, outcomes:, env:, incomplete:,
                         continue:)
    end
  end

  # @param folder [String] beneath cases/: those for servers that are configured in some way
  # @return [Array<Case>] of every table in it
  def self.load(folder = "")
    cases = Dir[File.join(__dir__, "cases", folder, "*.rb")].flat_map do |path|
      Table.new(File.basename(path, ".rb")).tap { |table| table.instance_eval(File.binread(path), path) }.cases
    end
    twice = cases.map { |kase| [kase.name, kase.source] }.tally.select { |_, count| count > 1 }.keys
    raise "cases with the same name: #{twice.inspect}" if twice.any?

    cases
  end
end
