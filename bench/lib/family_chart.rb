# frozen_string_literal: true

require_relative "arena"
require_relative "svg"

# The workloads of one family of the arena, for each server the processor time of a request and the p99: medians as
# bars, the least and the greatest round as whiskers, and how many requests failed. Less is better. Each workload has a
# scale of its own.
class FamilyChart
  include Svg

  WIDTH = 860
  MARGIN = 10
  LABELS = 150
  # Of one of the two columns: bars, and the figures at their right.
  BARS = 190
  FIGURES = 150
  COLUMN = BARS + FIGURES + 10
  # What the longest bar has of it; the rest is for whiskers.
  LONGEST = 0.7
  ROW = 16
  GAP = 12
  LINE = 17
  COLUMNS = { cpu: "Processor time of a request, µs", p99: "p99, ms" }.freeze
  private_constant :WIDTH, :MARGIN, :LABELS, :BARS, :FIGURES, :COLUMN, :LONGEST, :ROW, :GAP, :LINE, :COLUMNS

  # Writes arena-FAMILY.svg for each family of which something was measured.
  #
  # @param report [Report]
  # @param folder [String]
  # @return [Array<String>] paths
  def self.write_all(report, folder)
    Arena::FAMILIES.keys.filter_map do |family|
      chart = new(report, family)
      next if chart.empty?

      File.join(folder, "arena-#{family}.svg").tap { |path| File.write(path, chart.to_svg) }
    end
  end

  # @param report [Report]
  # @param family [String]
  def initialize(report, family)
    @report = report
    @family = family
    names = Arena::WORKLOADS.select { |_, workload| workload[:family] == family }.keys
    # The same profile in different apps side by side.
    profiles = Arena::PROFILES.fetch(family).keys
    @names = (names & report.medians.keys).sort_by.with_index { |name, at| [profiles.index(profile(name)), at] }
  end

  def empty? = @names.empty?

  # @return [String]
  def to_svg
    heading = [text(MARGIN, 22, "#{Arena::FAMILIES.fetch(@family)}: less is better", size: 15), *legend(42)]
    top = 42 + (legend_lines.size * LINE)
    heading << text(MARGIN, top, machine, size: 11)
    top += 26
    heading.concat(titles(top))
    top += 8
    rows = @names.map { |name| rows_of(name, top).tap { top += (servers_of(name).size * ROW) + GAP } }
    picture(WIDTH, top, *heading, *rows)
  end

  private

  def profile(name) = name.delete_prefix("#{Arena::WORKLOADS.fetch(name)[:framework]} ")
  def servers = @report.servers.select { |server| @names.any? { |name| servers_of(name).include?(server) } }
  def servers_of(name) = @report.medians.fetch(name).keys

  # Servers with their versions, in lines as wide as the picture.
  def legend_lines
    entries = servers.map { |server| [server, [server, @report.machine[:versions][server]].compact.join(" ")] }
    entries.each_with_object([[]]) do |entry, lines|
      lines << [] if lines.last.sum { |_, label| width_of(label) + 30 } + width_of(entry.last) > WIDTH - 60
      lines.last << entry
    end
  end

  def legend(top)
    legend_lines.each_with_index.flat_map do |line, row|
      left = MARGIN
      line.map do |server, label|
        base = top + (row * LINE)
        entry = "#{rectangle(left, base - 10, 12, 11, colour(server))}#{text(left + 17, base, label)}"
        left += width_of(label) + 30
        entry
      end
    end
  end

  def machine
    said = @report.machine
    system = [said[:ruby][/\Aruby [\d.]+/], said[:system], "#{said[:cores]} cores", said[:date]].compact
    "#{system.join(" · ")} · bars: medians; whiskers: the least and the greatest round"
  end

  def titles(base)
    COLUMNS.values.each_with_index.map { |title, index| text(column(index), base, title, size: 12) }
  end

  def column(index) = MARGIN + LABELS + (index * COLUMN)

  def rows_of(name, top)
    title = Arena::TITLES.fetch(profile(name), profile(name))
    label = [text(MARGIN, top + 12, title),
             text(MARGIN, top + 26, Arena::WORKLOADS.fetch(name)[:framework].capitalize, size: 10)]
    columns = COLUMNS.keys.each_with_index.map do |figure, index|
      longest = servers_of(name).map { |server| median(name, server, figure) }.max
      servers_of(name).each_with_index.map do |server, at|
        bar(name, server, figure, left: column(index), top: top + (at * ROW), longest:)
      end
    end
    [*label, *columns].join("\n")
  end

  def bar(name, server, figure, left:, top:, longest:)
    value = median(name, server, figure)
    return text(left, top + 12, "not measured", size: 10) unless longest.positive? && value.finite?

    spread = @report.spreads.fetch(name).fetch(server).fetch(figure)
    scale = BARS * LONGEST / longest
    ends = spread.map { |one| left + (one * scale) }
    [rectangle(left, top + 2, value * scale, ROW - 4, colour(server)),
     whisker(*ends, top + (ROW / 2), limit: left + BARS),
     text(left + BARS + 6, top + 12, figures(value, spread, figure == :cpu ? lost(name, server) : 0), size: 10)].join
  end

  def median(name, server, figure) = @report.medians.fetch(name).fetch(server).fetch(figure)

  def lost(name, server) = @report.medians.fetch(name).fetch(server)[:errors].to_i

  def figures(value, spread, lost)
    least, greatest = spread.map { |one| short(one) }
    said = least == greatest ? short(value) : "#{short(value)} (#{least}–#{greatest})"
    lost.positive? ? "#{said}, #{lost} failed" : said
  end

  # Three digits that tell.
  def short(value)
    return value.round.to_s if value >= 100

    value >= 10 ? value.round(1).to_s : value.round(2).to_s
  end
end
