# frozen_string_literal: true

require_relative "svg"

# One workload drawn as three small charts side by side: processor time, p99 and memory of each server, medians with the
# least and the greatest round. Less is better.
class Panels
  include Svg

  FIGURES = { cpu: ["processor time, µs a request", 1.0], p99: ["p99, ms", 1.0],
              pss: ["memory of all processes together (PSS), MB", 1024.0 * 1024] }.freeze
  WIDTH = 820
  PANEL = 270
  NAMES = 62
  HEAD = 70
  ROW = 20
  private_constant :FIGURES, :WIDTH, :PANEL, :NAMES, :HEAD, :ROW

  # @param report [Report]
  # @param workload [String] which is measured in it
  # @param date [String]
  def initialize(report, workload, date:)
    @machine = report.machine
    @servers = report.medians.fetch(workload)
    @spreads = report.spreads.fetch(workload)
    @workload = workload
    @date = date
  end

  # @return [String]
  def to_svg
    height = HEAD + (@servers.size * ROW) + 10
    panels = FIGURES.each_with_index.map do |(figure, (title, unit)), index|
      panel(8 + (index * PANEL), figure, title, unit)
    end
    title = "“#{@workload}”: less is better. #{@date}, #{@machine[:cores]} cores, #{@machine[:ruby][/\Aruby [\d.]+/]}"
    servers = @servers.keys.map { |server| "#{server} #{@machine[:versions][server]}" }.join(" · ")
    picture(WIDTH, height, text(8, 18, title, size: 13), text(8, 36, servers, size: 11), *panels)
  end

  private

  def panel(left, figure, title, unit)
    values = @servers.transform_values { |figures| figures[figure] / unit }
    longest = values.values.max
    rows = values.each_with_index.map do |(server, value), index|
      spread = @spreads.fetch(server).fetch(figure).map { |one| one / unit / longest }
      row(left, HEAD + (index * ROW), server, value, value / longest, spread)
    end
    [text(left, HEAD - 10, title, size: 11), *rows].join("\n")
  end

  def row(left, top, server, value, share, spread)
    scale = PANEL - NAMES - 90
    limit = left + NAMES + scale + 40
    ends = spread.map { |one| left + NAMES + (one * scale) }
    figure = value >= 100 ? value.round : value.round(1)
    [text(left, top + 12, server),
     rectangle(left + NAMES, top + 1, share * scale, 14, colour(server)), whisker(*ends, top + 8, limit:),
     text([ends.last, limit].min + 4, top + 12, figure, size: 11)].join
  end
end
