# frozen_string_literal: true

require_relative "../../helpers/server_case"
require_relative "case_table"

# Every case of the tables, each on a connection of its own, to one process and to a cluster.
class Http2FrameCasesTest < ServerCase
  CASES = Http2CaseTable.load
  # h2spec has 146.
  LEAST = 140

  def self.limit = 180

  def test_there_are_enough
    assert_operator CASES.size, :>=, LEAST
    assert_equal CASES.map(&:name).uniq.size, CASES.size, "two have one name"
  end

  def test_one_process = assert_cases

  def test_a_cluster = assert_cases("-w", "2")

  # Frames come in as many parts as octets.
  def test_octet_by_octet
    small = CASES.select { |kase| kase.steps.grep(String).sum(&:bytesize) < 200 }
    assert_operator small.size, :>, 100
    assert_cases(kases: small) { |client, octets| octets.each_char { |octet| client.write(octet) } }
  end

  private

  def assert_cases(*arguments, kases: CASES, &write)
    spawn_server("-t", "2:4", *arguments, app: file("cases.ru", APP), config: "rserve { http2 }\n")
    faults = kases.filter_map { |kase| fault(kase, write || ->(client, octets) { client.write(octets) }) }
    flunk "#{faults.size} of #{kases.size}:\n#{faults.join("\n")}\n#{server.log}" if faults.any?
    assert_equal "Hello", Http2Client.new(server.connect).request("/").body
  end

  APP = <<~RUBY
    run ->(env) { [200, { "content-type" => "text/plain" }, [env["rack.input"].read, "Hello"]] }
  RUBY

  # @return [String, nil] what was not as it must be
  def fault(kase, write)
    client = Http2Client.new(server.connect, settings: kase.settings, preface: kase.preface || Http2Frames::PREFACE)
    seen = play(client, kase, write)
    "#{kase.name}: #{seen}" if seen
  rescue StandardError => e
    "#{kase.name}: #{e.class} #{e.message} #{client && told(client)}"
  ensure
    client&.close
  end

  def play(client, kase, write)
    begin
      kase.steps.each { |step| step.is_a?(Integer) ? client.await(step) : write.call(client, step) }
    rescue Errno::EPIPE, Errno::ECONNRESET
      raise unless kase.outcome == :ends # it may be over before the last octet
    end
    send(kase.outcome, client, kase)
  end

  def answers(client, kase)
    status = client.await(kase.stream).status
    "#{status.inspect} instead of #{kase.wanted} #{told(client)}" unless kase.wanted.include?(status)
  end

  def goes_on(client, _kase)
    client.sync
    stream = 1001
    client.write(Http2Frames.settings(4 => 65_535) + Http2Frames.headers(stream))
    answer = client.await(stream)
    "not so #{told(client)}" if answer.status != 200 || client.goaways.any? || client.answers.values.any?(&:reset)
  end

  def resets(client, kase)
    client.sync
    reset = client.answers[kase.stream].reset
    "#{reset.inspect} instead of #{kase.wanted} #{told(client)}" if !kase.wanted.include?(reset) || client.goaways.any?
  end

  def ends(client, kase)
    client.read_all
    reason = client.goaways.last&.reason
    "#{reason.inspect} instead of #{kase.wanted} #{told(client)}" unless kase.wanted.include?(reason)
  end

  def told(client)
    "(#{client.answers.transform_values { |answer| [answer.statuses, answer.reset] }}, #{client.goaways.map(&:reason)})"
  end
end
