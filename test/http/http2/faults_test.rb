# frozen_string_literal: true

require_relative "http2_case"
require_relative "../closed_bodies"
require_relative "../fault_table"

# Whatever an application does costs its own request, by HTTP/2 as by HTTP/1.1: its stream has one whole response, or is
# reset, and the next request on the same connection is answered.
class Http2FaultsTest < Http2Case
  include ClosedBodies

  # Left out are those that are about HTTP/1.0, and those that end the process.
  FAULTS = FaultTable.load.reject do |_, fault|
    fault.outcomes.include?(:lost) || fault.request.include?("HTTP/1.0")
  end

  def self.limit = 120

  def test_each_fault
    spawn_server "-t", "5:5", "--early-hints", app: "test/http/faults.ru", config: "rserve { http2 }\n"
    wrong = FAULTS.filter_map do |path, fault|
      what = fault_of(path, fault) || (closed_fault(path, fault) unless EXCEPT.key?(fault.name))
      "#{fault.name}: #{what}" if what
    end
    assert wrong.empty?, ["#{wrong.size} of #{FAULTS.size} faults went wrong:", *wrong].join("\n")
  end

  private

  def fault_of(path, fault)
    client = fresh_client
    stream = client.begin_request(path, method: fault.request[/\w+/], fields: fields(fault))
    answer = client.await(stream)
    judge(fault, answer) || probe_fault(client)
  rescue EOFError, SystemCallError, Timeout::Error => e
    e.inspect
  end

  # One connection for many of them: they have nothing to do with each other.
  def fresh_client
    @fresh_client = nil if @fresh_client&.goaways&.any?
    @fresh_client ||= open_client(settings: { 4 => 1 << 24 }).tap { |client| client.open_window(1 << 30) }
  end

  # Those that mean something here.
  def fields(fault)
    lines = fault.request.lines.drop(2).map(&:strip).reject(&:empty?)
    fields = lines.map { |line| line.split(/:\s*/, 2).then { |name, value| [name.downcase, value] } }
    fields.to_h.except("connection", "upgrade").to_a
  end

  def judge(fault, answer)
    outcome = answer.reset ? :cut : answer.status
    return "#{outcome}, not #{wanted(fault)}" unless wanted(fault).include?(outcome)
    return if outcome == :cut || outcome >= 400
    return "its body is #{answer.body.inspect[0, 100]}" unless body?(fault, answer)

    wrong = fault.fields.find { |name, value| !about_connection?(name) && [*answer[name.downcase]].first != value }
    "its #{wrong.first} is #{answer[wrong.first.downcase].inspect}" if wrong
  end

  def about_connection?(name) = %w[connection transfer-encoding upgrade].include?(name.downcase)

  def wanted(fault) = EXCEPT.fetch(fault.name, fault.outcomes)
  def body?(fault, answer) = fault.body.nil? || EXCEPT.key?(fault.name) || answer.body == fault.body.b

  # There are no codings but the server's (as in HTTP/1.0), no 101, and no socket to be had.
  EXCEPT = {
    "a coding that nobody knows" => [500], "two codings in an Array" => [500], "a 101 without a hijack" => [:cut],
    "a hijack" => [500], "a hijack, and a body to be closed" => [500], "a hijack twice" => [500],
    "a hijack that raises" => [500], "a hijack that raises after its response" => [500],
    "a hijack that returns nil" => [500], "a hijack that kills the thread" => [500],
    "the socket closed by the app" => [200], "the socket looked at by the app" => [500]
  }.freeze

  def probe_fault(client)
    answer = client.request("/probe")
    "the probe got #{answer.inspect}" unless answer.body == "probe" && client.goaways.empty?
  end
end
