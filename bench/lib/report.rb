# frozen_string_literal: true

require "etc"
require "json"
require_relative "peers"

# Medians over the rounds and how far these are apart, as a table and as data. Ratios are to the last server named.
class Report
  FIGURES = %i[rate cpu switches p50 p99 p999 errors pss private busiest].freeze
  HEADINGS = ["workload", "server", "req/s", "CPU µs/req", "(least–greatest)", "switches", "p50 ms", "p99 ms",
              "(least–greatest)", "p99.9", "errors", "PSS MB", "own MB", "busiest",
              "× by CPU (least–greatest), req/s, p50, p99"].freeze
  ROW = "%-18s %-9s %8s %10s %-17s %9s %8s %8s %-17s %8s %7s %7s %7s %7s  %s"
  MEGABYTE = 1024.0 * 1024
  private_constant :ROW, :HEADINGS, :MEGABYTE

  # What the figures were taken on.
  def self.machine(servers)
    { ruby: RUBY_DESCRIPTION, cores: Etc.nprocessors, load: File.read("/proc/loadavg").split.first.to_f,
      processor: File.read("/proc/cpuinfo")[/^model name\s*: (.*)/, 1], kernel: Etc.uname[:release],
      system: File.read("/etc/os-release")[/^PRETTY_NAME="(.*)"/, 1], date: Time.now.strftime("%Y-%m-%d"),
      versions: servers.uniq.to_h { |name| [name, Peers.version(name)] }, settings: Peers::SETTINGS.slice(*servers) }
  end

  # @param paths [Array<String>] what `to_h` of several was written to; of a server and workload that are in more than
  #   one of them, the figures of the last one count. Machine and order of servers are those of the first one
  # @return [Report]
  def self.read(paths)
    said = paths.map { |path| JSON.parse(File.read(path)) }
    samples = said.map do |one|
      one["samples"].map { |sample| sample.transform_keys(&:to_sym) }.group_by { |it| it.values_at(:workload, :server) }
    end
    machine = said.map { |one| one["machine"] }.reverse.reduce do |all, one|
      all.merge(one, "versions" => all["versions"].merge(one["versions"]))
    end
    new(samples.reduce(:merge).values.flatten, machine: machine.transform_keys(&:to_sym),
                                               servers: said.flat_map { |one| one["servers"] }.uniq)
  end

  # @return [Hash] see {.machine}
  attr_reader :machine

  # @return [Array<String>] in the order they were asked for
  attr_reader :servers

  def initialize(samples, servers:, machine:)
    @samples = samples
    @servers = servers
    @machine = machine
  end

  def to_h = { machine:, servers:, medians:, spreads:, ratios:, samples: @samples }

  def to_s
    lines = medians.flat_map do |workload, servers|
      servers.map { |server, figures| line(workload, server, figures) }
    end
    ["", *about, format(ROW, *HEADINGS), *lines].join("\n")
  end

  # @return [Hash{String => Hash{String => Hash{Symbol => Numeric}}}] figures by workload and server
  def medians
    @medians ||= over_rounds { |values| median(values) }
  end

  # @return [Hash{String => Hash{String => Hash{Symbol => Array(Numeric, Numeric)}}}] the least and the greatest of the
  #   rounds
  def spreads
    @spreads ||= over_rounds { |values| values.minmax unless values.empty? }
  end

  # @return [Hash{String => Hash{String => Hash{Symbol => Float}}}] how many times as good as the last server, by
  #   workload and server: above 1 is better. Where the client chose the rate, only times of requests tell anything
  def ratios
    @ratios ||= medians.to_h do |workload, servers|
      reference = servers[@servers.last]
      next [workload, {}] unless reference

      [workload, servers.transform_values { |figures| compare(figures, reference, paced?(workload)) }]
    end
  end

  private

  def about
    versions = machine[:versions].map { |name, version| "#{name} #{version}: #{machine[:settings][name]}" }
    ruby = [machine[:ruby], ("with YJIT" if machine[:yjit]), machine[:preload]].compact.join(", ")
    [ruby, machine[:system], "#{machine[:cores]} × #{machine[:processor]}, Linux #{machine[:kernel]}",
     "#{machine[:date]}, load before: #{machine[:load]}", *versions].compact
  end

  def over_rounds
    @samples.group_by { |sample| sample[:workload] }.transform_values do |samples|
      samples.group_by { |sample| sample[:server] }.slice(*@servers).transform_values do |rounds|
        FIGURES.to_h { |figure| [figure, yield(rounds.filter_map { |round| round[figure] })] }
      end
    end
  end

  def paced?(workload) = @samples.find { |sample| sample[:workload] == workload }[:paced]

  def compare(figures, reference, paced)
    times = %i[p50 p99].select { |figure| figures[figure].positive? }
                       .to_h { |figure| [figure, reference[figure] / figures[figure]] }
    paced ? times : { cpu: reference[:cpu] / figures[:cpu], rate: figures[:rate] / reference[:rate], **times }
  end

  # By CPU, of two servers in the same round.
  def spread_of_ratio(workload, server)
    rounds = [@servers.last, server].map do |name|
      @samples.select { |sample| sample.values_at(:workload, :server) == [workload, name] }
              .to_h { |sample| [sample[:round], sample[:cpu]] }
    end
    both = rounds.first.keys & rounds.last.keys
    least_and_greatest(both.map { |round| rounds.first[round] / rounds.last[round] }.minmax, 2)
  end

  def line(workload, server, figures)
    spread = spreads.fetch(workload).fetch(server)
    format(ROW, workload, server, figures[:rate].round, figures[:cpu].round(1), least_and_greatest(spread[:cpu], 1),
           figures[:switches].round(2), figures[:p50].round(3), figures[:p99].round(2),
           least_and_greatest(spread[:p99], 2), figures[:p999].round(2), figures[:errors].to_i,
           *figures.values_at(:pss, :private).map { |octets| (octets / MEGABYTE).round(1) },
           figures[:busiest]&.round(2) || "-", compared(workload, server))
  end

  def compared(workload, server)
    ratio = ratios.fetch(workload)[server]
    return if ratio.nil? || server == @servers.last

    by_cpu, *others = %i[cpu rate p50 p99].map { |figure| ratio[figure]&.round(2) || "-" }
    by_cpu = "#{by_cpu} #{spread_of_ratio(workload, server)}" if ratio[:cpu]
    [by_cpu, *others].join("  ")
  end

  def least_and_greatest(pair, digits) = "(#{pair.map { |value| value.round(digits) }.uniq.join("–")})"

  def median(values)
    return if values.empty?

    sorted = values.sort
    middle = sorted.size / 2
    sorted.size.odd? ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0
  end
end
