# frozen_string_literal: true

require_relative "svg"

# A report drawn for the README: for each workload a bar for each server, as long as the server is economical compared
# with the last one. Workloads whose rate the client chose are left out.
class Chart
  include Svg

  WIDTH = 760
  LABELS = 150
  BAR = 12
  GAP = 10
  HEAD = 54
  LONGEST = WIDTH - LABELS - 70
  private_constant :WIDTH, :LABELS, :BAR, :GAP, :HEAD, :LONGEST

  # @param report [Report]
  def initialize(report)
    @machine = report.machine
    @ratios = report.ratios.transform_values { |servers| servers.transform_values { |ratio| ratio[:cpu] }.compact }
                    .reject { |_, servers| servers.empty? }
    @servers = @ratios.values.flat_map(&:keys).uniq
    @longest = @ratios.values.flat_map(&:values).max || 1
  end

  # @return [String]
  def to_svg
    top = HEAD
    rows = @ratios.map do |workload, servers|
      row(workload, servers, top).tap { top += (servers.size * BAR) + GAP }
    end
    picture(WIDTH, top, text(8, 20, title, size: 14), legend, *rows)
  end

  private

  def title = "Requests for the same processor time, compared with #{@servers.last} (square root scale)"

  def legend
    left = 8
    entries = @servers.map do |server|
      label = "#{server} #{@machine[:versions][server]}"
      entry = "#{bar(left, 30, BAR, server)}#{text(left + BAR + 5, 40, label)}"
      left += BAR + 20 + width_of(label)
      entry
    end
    [*entries, text(left, 40, @machine[:ruby][/\Aruby [\d.]+/])].join("\n")
  end

  def row(workload, servers, top)
    bars = servers.each_with_index.map do |(server, ratio), index|
      y = top + (index * BAR)
      # The square root, so that a tenth more and ten times as much are both to be seen.
      length = Math.sqrt(ratio / @longest) * LONGEST
      "#{bar(LABELS, y, length, server)}#{text(LABELS + length + 5, y + BAR - 2, ratio.round(1), size: 10)}"
    end
    [text(8, top + BAR, workload), *bars].join("\n")
  end

  def bar(left, top, length, server) = rectangle(left, top, length, BAR - 1, colour(server))
end
