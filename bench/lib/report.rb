# frozen_string_literal: true

require "etc"

# Medians over the rounds, as a table and as data. Ratios are to the last server named.
class Report
  FIGURES = %i[rate cpu switches p50 p99 p999 errors pss private busiest].freeze
  HEADINGS = ["workload", "server", "req/s", "CPU µs/req", "switches", "p50 ms", "p99 ms", "p99.9", "errors", "PSS MB",
              "own MB", "busiest", "× by CPU, req/s, p99"].freeze
  ROW = "%-15s %-9s %8s %10s %9s %8s %8s %8s %7s %7s %7s %7s  %s"
  MEGABYTE = 1024.0 * 1024
  private_constant :ROW, :HEADINGS, :MEGABYTE

  # What the figures were taken on.
  def self.machine(servers)
    versions = servers.uniq.to_h do |name|
      rserve = -> { File.read("Cargo.toml")[/^version = "(.*)"/, 1] }
      [name, name == "rserve" ? rserve.call : Peers.version(name)]
    end
    { ruby: RUBY_DESCRIPTION, cores: Etc.nprocessors, load: File.read("/proc/loadavg").split.first.to_f, versions: }
  end

  # @return [Hash] see {.machine}
  attr_reader :machine

  def initialize(samples, servers:, machine:)
    @samples = samples
    @servers = servers
    @machine = machine
  end

  def to_h = { machine:, medians:, ratios:, samples: @samples }

  def to_s
    lines = medians.flat_map do |workload, servers|
      servers.map { |server, figures| line(workload, server, figures) }
    end
    ["", machine[:ruby], format(ROW, *HEADINGS), *lines].join("\n")
  end

  # @return [Hash{String => Hash{String => Hash{Symbol => Numeric}}}] figures by workload and server
  def medians
    @medians ||= @samples.group_by { |sample| sample[:workload] }.transform_values do |samples|
      samples.group_by { |sample| sample[:server] }.slice(*@servers).transform_values do |rounds|
        FIGURES.to_h { |figure| [figure, median(rounds.filter_map { |round| round[figure] })] }
      end
    end
  end

  # @return [Hash{String => Hash{String => Hash{Symbol => Float}}}] how many times as good as the last server, by
  #   workload and server: above 1 is better. Where the client chose the rate, only p99 tells anything
  def ratios
    medians.to_h do |workload, servers|
      reference = servers.fetch(@servers.last)
      [workload, servers.transform_values { |figures| compare(figures, reference, paced?(workload)) }]
    end
  end

  private

  def paced?(workload) = @samples.find { |sample| sample[:workload] == workload }[:paced]

  def compare(figures, reference, paced)
    tail = figures[:p99].positive? ? { p99: reference[:p99] / figures[:p99] } : {}
    paced ? tail : { cpu: reference[:cpu] / figures[:cpu], rate: figures[:rate] / reference[:rate], **tail }
  end

  def line(workload, server, figures)
    ratio = ratios.fetch(workload).fetch(server)
    compared = %i[cpu rate p99].map { |figure| ratio[figure]&.round(2) || "-" }.join("  ")
    format(ROW, workload, server, figures[:rate].round, figures[:cpu].round(1), figures[:switches].round(2),
           *figures.values_at(:p50, :p99, :p999).map { |time| time.round(2) }, figures[:errors].to_i,
           *figures.values_at(:pss, :private).map { |octets| (octets / MEGABYTE).round(1) },
           figures[:busiest]&.round(2) || "-", (compared unless server == @servers.last))
  end

  def median(values)
    return if values.empty?

    sorted = values.sort
    middle = sorted.size / 2
    sorted.size.odd? ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0
  end
end
