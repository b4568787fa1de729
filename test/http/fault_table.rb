# frozen_string_literal: true

# What an application can get wrong, and what its client may see of it. The tables are in faults/*.rb; faults.ru runs
# their blocks, and the test holds the outcome against what is said here.
module FaultTable
  # @!attribute name [String]
  # @!attribute outcomes [Array<Integer, Symbol>] what may happen: a whole response with this status; `:cut`, the
  #   connection ends before the response does; `:lost`, the process that had the request is gone
  # @!attribute body [String, nil] of the response, if it matters
  # @!attribute fields [Hash{String => String, nil}] of the response; nil is "no such field"
  # @!attribute request [String] what the client sends first, a probe follows
  # @!attribute ends [Boolean, nil] whether the connection ends after the response; nil is either
  # @!attribute closed [Integer, nil] how often the body must have been closed
  # @!attribute run [Proc] takes the environment, gives the response
  Fault = Struct.new(:name, :outcomes, :body, :fields, :request, :ends, :closed, :run, keyword_init: true)

  # A body that notes under its fault's name how often it was closed.
  class Body
    COUNTS = Hash.new(0)

    def initialize(name, parts = [], &each)
      @name = name
      @each = each || ->(&block) { parts.each(&block) }
    end

    def each(&) = @each.call(&)
    def close = COUNTS[@name] += 1
  end

  # The words of the tables.
  class Table
    attr_reader :faults

    def initialize = @faults = []

    # The response arrives whole.
    def answers(name, status = 200, body: nil, **options, &run) = add(name, [status], body:, **options, &run)

    # The server answers 500 in its stead.
    def fails(name, **options, &) = add(name, [500], **options, &)

    # The client sees that the response is not complete, or gets none, and nothing that it does not own.
    def cuts(name, **options, &) = add(name, [:cut], ends: true, **options, &)

    # One of several outcomes.
    def either(name, outcomes, **options, &) = add(name, outcomes, **options, &)

    # The process ends.
    def kills(name, **options, &) = add(name, [:lost], ends: true, **options, &)

    # A body of `parts`, or with an `each` of its own, that counts its `close`.
    def closing(env, parts = [], &) = Body.new(env.fetch("test.fault"), parts, &)

    private

    def add(name, outcomes, method: "GET", version: "HTTP/1.1", fields: {}, lines: [], body: nil, ends: nil,
            closed: nil, &run)
      path = "/#{@faults.size}-#{name.gsub(/\W+/, "-")}"
      head = ["#{method} #{path} #{version}", "Host: h", *lines].join("\r\n")
      @faults << Fault.new(name:, outcomes:, body:, fields:, request: "#{head}\r\n\r\n", ends:, closed:, run:)
    end
  end

  # @return [Hash{String => Fault}] by path
  def self.load
    table = Table.new
    Dir[File.join(__dir__, "faults/*.rb")].each { |path| table.instance_eval(File.read(path), path) }
    faults = table.faults.to_h { |fault| [fault.request[/ (\S+)/, 1], fault] }
    raise "two faults with the same name" if faults.size < table.faults.size

    faults
  end
end
