# frozen_string_literal: true

require_relative "paced_client"
require_relative "server"

# A client of a server that cannot serve all that it is asked: what was served is timed, what was refused is counted.
class OverloadClient < PacedClient
  # Seconds from when each answer was due until it came, in the order in which they came.
  attr_reader :times

  private

  def note(waiting, answered:)
    answered ? @answered += 1 : @errors += 1
    @times << ((now - waiting.due) * 1e3) if answered
  end
end

# Two servers that are asked twice as much as they can do: one that lets everybody wait, and one that does not.
class Overload
  THREADS = 5
  SERVICE = 0.02
  CAPACITY = (THREADS / SERVICE).to_i
  LIMIT = 1

  Result = Struct.new(:goodput, :refused, :p50, :p99, :last)

  def initialize(seconds)
    @seconds = seconds
    @folder = Dir.mktmpdir("bench-shedding")
  end

  # @return [Boolean] whether the figures are good
  def run
    without = measure("")
    with = measure("rserve { queue_time_limit #{LIMIT} }\n")
    peak = without.goodput
    say "without a limit", without, peak
    say "queue_time_limit #{LIMIT}", with, peak
    with.goodput >= 0.95 * peak && with.p99 <= ((LIMIT + SERVICE) * 1e3) + 50
  ensure
    FileUtils.rm_rf(@folder)
  end

  private

  def measure(config)
    workload = { workers: 0, threads: THREADS, app: write("app.ru", "run ->(_) { sleep #{SERVICE}; [200, {}, []] }\n"),
                 config: write("config.rb", config), path: "/", rate: 2 * CAPACITY, connections: 10_000 }
    server = BenchServer.new("rserve", workload, core: "0")
    client = OverloadClient.new
    began = now
    result = client.run(server, workload, @seconds)
    Result.new(result[:requests] / (now - began), result[:errors], result[:p50], result[:p99], client.times.last.to_f)
  ensure
    server&.stop
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  def write(name, text) = File.join(@folder, name).tap { |path| File.write(path, text) }

  def say(name, result, peak)
    puts format("%-20s  %5.1f served a second (%3.0f %% of the peak), %5d not served; of the served p50 %5.0f ms, " \
                "p99 %5.0f ms, the last one %5.0f ms", name, result.goodput, 100 * result.goodput / peak,
                result.refused, result.p50, result.p99, result.last)
  end
end
