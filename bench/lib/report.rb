# frozen_string_literal: true

require "etc"

# Medians over the rounds, as a table and as data. Ratios are to the last server named.
class Report
  FIGURES = %i[rate cpu switches p50 p99 p999 errors memory].freeze
  ROW = "%-14s %-9s %10s %10s %9s %8s %8s %8s %7s  %s"
  private_constant :ROW

  def initialize(samples, servers:, machine:)
    @samples = samples
    @servers = servers
    @machine = machine
  end

  # What the figures were taken on.
  def self.machine(servers)
    versions = servers.uniq.to_h do |name|
      rserve = -> { File.read("Cargo.toml")[/^version = "(.*)"/, 1] }
      [name, name == "rserve" ? rserve.call : Gem::Specification.find_by_name(name).version.to_s]
    end
    { ruby: RUBY_DESCRIPTION, cores: Etc.nprocessors, load: File.read("/proc/loadavg").split.first.to_f, versions: }
  end

  def to_h = { machine: @machine, medians:, ratios:, samples: @samples }

  def to_s
    head = format(ROW, "workload", "server", "req/s", "CPU µs/req", "switches", "p50 ms", "p99 ms", "p99.9", "errors",
                  "× by CPU, × by req/s")
    lines = medians.flat_map do |workload, servers|
      servers.map { |server, figures| line(workload, server, figures) }
    end
    ["", @machine[:ruby], head, *lines].join("\n")
  end

  private

  def medians
    @medians ||= @samples.group_by { |sample| sample[:workload] }.transform_values do |samples|
      samples.group_by { |sample| sample[:server] }.slice(*@servers).transform_values do |rounds|
        FIGURES.to_h { |figure| [figure, median(rounds.map { |round| round[figure] })] }
      end
    end
  end

  # How many times as good as the last server: above 1 is better.
  def ratios
    medians.transform_values do |servers|
      reference = servers.fetch(@servers.last)
      servers.transform_values do |figures|
        { cpu: reference[:cpu] / figures[:cpu], rate: figures[:rate] / reference[:rate] }
      end
    end
  end

  def line(workload, server, figures)
    ratio = ratios.fetch(workload).fetch(server)
    compared = server == @servers.last ? "" : "#{ratio[:cpu].round(2)}  #{ratio[:rate].round(2)}"
    format(ROW, workload, server, figures[:rate].round, figures[:cpu].round(1), figures[:switches].round(2),
           *figures.values_at(:p50, :p99, :p999).map { |time| time.round(2) }, figures[:errors].to_i, compared)
  end

  def median(values)
    sorted = values.sort
    middle = sorted.size / 2
    sorted.size.odd? ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0
  end
end
