# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "answers"
require_relative "case_runner"
require_relative "request_mill"
require_relative "strict_reading"

# Requests by the thousand that are nearly right, to a live server: it must see the same ones as a second reading of the
# same octets, answer each of them, and no other.
#
# FUZZ_REQUESTS  connections for each seed (3000)
# FUZZ_SEEDS     seeds, separated by commas (one, of the day)
# FUZZ_WORKERS   processes; 0 is single mode (0)
class FuzzTest < ServerCase
  REQUESTS = Integer(ENV.fetch("FUZZ_REQUESTS", 3000))
  SEEDS = ENV.fetch("FUZZ_SEEDS") { Time.now.strftime("%Y%m%d") }.split(",").map(&:to_i)
  WORKERS = ENV.fetch("FUZZ_WORKERS", "0")

  def self.limit = 60 + (REQUESTS * SEEDS.size / 50)

  def test_server_and_strict_reading_agree
    log = file("oracle.log", "")
    spawn_server "-t", "2:4", "-w", WORKERS, app: "test/http/oracle.ru", env: { "ORACLE_LOG" => log }
    runner = CaseRunner.new(ServerProcess::HOST, server.port, log)
    SEEDS.each do |seed|
      mill = RequestMill.new(seed)
      cases = Array.new(REQUESTS) { |number| Fuzzed.new(mill, "seed #{seed}, number #{number}") }
      faults = runner.run(cases.map { |kase| [kase, kase.cuts] })
      assert faults.empty?, ["#{faults.size} of #{REQUESTS} disagreements:", *faults.first(10)].join("\n")
    end
    assert_serving "GET / 0\n"
  end

  # What a client sends, and what is to come of it; stands in for a case of the tables.
  class Fuzzed
    attr_reader :name, :octets, :cuts

    def initialize(mill, name)
      @name = name
      @octets = mill.octets + Conversation::PROBE
      @cuts = mill.cuts(@octets.bytesize)
      @reading = StrictReading.new(@octets)
    end

    def source = @octets.inspect
    def incomplete = true

    # @return [String, nil] what is wrong with `answer`, the client's octets, or with what the application saw
    def fault(answer, seen)
      wanted = @reading.requests.select(&:served).map { |one| [one.verb, one.target, one.body] }
      return "the application saw #{seen.inspect}, not #{wanted.inspect}" if seen != wanted

      got = read(answer)
      statuses = got.answers.map(&:status) - [100]
      expected = @reading.requests.map { |one| one.served ? 200 : 501 }
      refusal = statuses.drop(expected.size)
      return "the answers are #{statuses.inspect}, not #{expected.inspect}" if statuses.first(expected.size) != expected
      return "octets after the last answer: #{got.rest.inspect}" unless got.rest.empty?

      "#{@reading.ending}, and the answers are #{statuses.inspect}" unless ends_well?(refusal)
    rescue Answers::Malformed => e
      "#{e.message} in #{answer.inspect}"
    end

    private

    # The refusal of a HEAD has no body.
    def read(answer)
      methods = @reading.requests.map(&:verb)
      got = Answers.read(answer, methods + ["GET"])
      got.rest.empty? ? got : Answers.read(answer, methods + ["HEAD"])
    end

    def ends_well?(refusal)
      case @reading.ending
      when :closed then refusal.empty?
      when :refused then refusal.size == 1 && [400, 413, 501].include?(refusal.first)
      # The beginning may show already that it will never be a request.
      else refusal.empty? || [[400], [501]].include?(refusal)
      end
    end
  end
end
