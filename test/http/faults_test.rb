# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "answers"
require_relative "closed_bodies"
require_relative "fault_table"

# Whatever an application does costs its own request, at most its worker: the client sees one whole response, or that
# there is none; the connection is in step, or over; the server goes on.
class FaultsTest < ServerCase
  include ClosedBodies

  FAULTS = FaultTable.load

  PROBE = "GET /probe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

  # RFC 9110 §5.6.7
  DATE = /\A[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\z/

  # Seconds that a client waits for the end of its connection.
  PATIENCE = 8

  def self.limit = 120

  def test_each_fault
    spawn_server "-t", "5:5", "--early-hints", app: "test/http/faults.ru"
    assert_faults(FAULTS.reject { |_, fault| fault.outcomes == [:lost] })
  end

  def test_each_fault_in_a_cluster
    spawn_server "-t", "5:5", "-w", "2", "--early-hints", app: "test/http/faults.ru"
    assert_faults(FAULTS, closes: false)
  end

  HANDLERS = {
    "raises" => "raise 'no'",
    "exits" => "exit",
    "gives nil" => "nil",
    "gives no status" => "[nil, {}, []]",
    "gives no headers" => "[500, nil, []]",
    "gives no body" => "[500, {}]",
    "gives a String" => "[500, {}, 'a']",
    "splits a header" => %q([500, { "x" => "a\r\nset-cookie: b" }, ["a"]]),
    "gives a body with each" => "[500, {}, (1..3).lazy.map(&:to_s)]",
    "gives a wrong length" => '[500, { "content-length" => "1" }, ["abc"]]',
    "gives a coding" => '[500, { "transfer-encoding" => "chunked" }, ["0\\r\\n\\r\\nHTTP/1.1 200 OK"]]'
  }.freeze

  def test_each_fault_of_the_lowlevel_error_handler
    HANDLERS.each do |what, code|
      spawn_server "-t", "1:2", app: "test/http/faults.ru", config: "lowlevel_error_handler { |*| #{code} }\n"
      { "a raise" => "GET /raise HTTP/1.1\r\n\r\n", "a refusal" => "nonsense\r\n\r\n" }.each do |fault, request|
        octets = everything(request.sub("/raise", raising) + PROBE)
        reading = Answers.read(octets, %w[GET GET])
        assert_includes [500, 400], reading.answers.first&.status,
                        "#{fault}, and the handler #{what}: #{octets.inspect}"
        assert_nil reading.answers.first["set-cookie"]
        assert_includes [nil, "probe"], reading.answers[1]&.body, octets
      end
      server.stop
    end
  end

  private

  def raising = FAULTS.keys.find { |path| path.end_with?("-raise") }

  def assert_faults(faults, closes: true)
    wrong = faults.filter_map do |path, fault|
      what = fault_of(fault) || (closes && closed_fault(path, fault))
      "#{fault.name}: #{what}" if what
    end
    assert wrong.empty?, ["#{wrong.size} of #{faults.size} faults went wrong:", *wrong].join("\n")
  end

  def fault_of(fault)
    octets = everything(fault.request + PROBE)
    return "the connection is still open after #{octets.inspect[0, 300]}" if octets.is_a?(Array)

    method = fault.request[/\w+/]
    reading = Answers.read(octets, [method, "GET"])
    judge(fault, reading, octets)
  rescue Answers::Malformed => e
    "#{e.message} in #{octets.inspect[0, 600]}"
  end

  def judge(fault, reading, octets)
    first, probe, *more = reading.answers.reject { |answer| answer.status < 200 && answer.status != 101 }
    outcome = first ? first.status : :cut
    outcome = :lost if fault.outcomes.include?(:lost) && octets.empty?
    shown = octets.inspect[0, 400]
    return "#{outcome}, not #{fault.outcomes.join(" or ")}: #{shown}" unless fault.outcomes.include?(outcome)
    return "more than two responses: #{shown}" if more.any?
    return "octets after a whole response: #{shown}" if outcome != :cut && !reading.rest.empty?
    return if %i[cut lost].include?(outcome)

    rule = broken_rule(fault, reading.answers) and return "#{rule}: #{shown}"

    in_step = probe&.body == "probe"
    return "the probe got #{probe.inspect[0, 200]}: #{shown}" if probe && !in_step
    return "the dates are #{dates(probe)}: #{shown}" if probe && (dates(probe).size != 1 || dates(probe)[0] !~ DATE)
    return "it is dated twice: #{shown}" if first && dates(first).size > 1
    return "the connection #{in_step ? "goes on" : "ends"}: #{shown}" if fault.ends == in_step
    return "the connection ends: #{shown}" if fault.ends.nil? && !in_step && outcome < 400

    body_fault(fault, first) if outcome < 400
  end

  def dates(answer) = answer.fields.select { |name, _| name.casecmp?("date") }.map(&:last)

  # What a response says of itself is true, and fit for its client.
  def broken_rule(fault, answers)
    interim, final = answers.partition { |answer| answer.status < 200 }
    first, probe = final
    old = fault.request.match?(%r{ HTTP/1\.0\r})
    return "an interim response for HTTP/1.0" if old && interim.any? { |answer| answer.status != 101 }
    return "a coding for HTTP/1.0" if old && first && first["transfer-encoding"]
    return "a coding in a #{first.status}" if first&.status == 204 && first["transfer-encoding"]

    broken_promise(first, probe) if first
  end

  def broken_promise(first, probe)
    lines = first.fields.filter_map { |name, value| value if name.casecmp?("connection") }
    options = lines.flat_map { |value| value.downcase.split(/\s*,\s*/) }
    return "Connection on #{lines.size} lines" if lines.size > 1 || options.uniq.size < options.size
    return "a response after Connection: close" if probe && options.include?("close")

    "no response after Connection: keep-alive" if !probe && options.include?("keep-alive")
  end

  def body_fault(fault, answer)
    return "its body is #{answer.body.inspect[0, 100]}" unless fault.body.nil? || answer.body == fault.body.b

    wrong = fault.fields.find { |name, value| answer[name] != value }
    "its #{wrong.first} is #{answer[wrong.first].inspect[0, 100]}, not #{wrong.last.inspect}" if wrong
  end

  # @return [String, Array] all that came, in an Array if the connection did not end
  def everything(request)
    socket = connect_patiently
    socket.write(request)
    octets = "".b
    loop do
      return [octets] unless socket.wait_readable(Patience.for(PATIENCE))

      octets << socket.readpartial(1_000_000)
    end
  rescue EOFError, Errno::ECONNRESET, Errno::EPIPE
    octets || "".b
  ensure
    socket&.close
  end

  def connect_patiently = server.wait_until("it takes connections", 5) { server.connect }
end
