# frozen_string_literal: true

require "cgi"

# What the charts are drawn with.
module Svg
  # The same in all pictures.
  COLOURS = { "rserve" => "#c0392b", "itsi" => "#e08e0b", "falcon" => "#2980b9", "pitchfork" => "#8e44ad",
              "unicorn" => "#27ae60", "puma" => "#5d6d7e", "bare" => "#b2babb" }.freeze
  OTHER = "#b2babb"
  private_constant :COLOURS, :OTHER

  # @param content [Array<String>] elements
  # @return [String] a whole picture
  def picture(width, height, *content)
    <<~SVG
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 #{width} #{height}" font-family="sans-serif" font-size="12">
      <rect width="#{width}" height="#{height}" fill="#fff"/>
      #{content.join("\n")}
      </svg>
    SVG
  end

  def text(left, base, content, size: 12)
    %(<text x="#{left.round(1)}" y="#{base}" font-size="#{size}" fill="#333">#{CGI.escapeHTML(content.to_s)}</text>)
  end

  def rectangle(left, top, width, height, colour)
    %(<rect x="#{left.round(1)}" y="#{top}" width="#{width.round(1)}" height="#{height}" fill="#{colour}"/>)
  end

  # From the one to the other, with an end at each that is no farther than `limit`.
  def whisker(from, to, middle, limit:, half: 3)
    ends = [from, to].select { |at| at <= limit }.map { |at| "M#{at.round(1)} #{middle - half}v#{half * 2}" }
    span = "M#{[from, limit].min.round(1)} #{middle}H#{[to, limit].min.round(1)}"
    %(<path d="#{[span, *ends].join}" stroke="#222" fill="none"/>)
  end

  # @param server [String] perhaps with a number
  def colour(server) = COLOURS.fetch(server[/\A\S+/], OTHER)

  # @return [Integer] about how wide a text is, rather more than less
  def width_of(content, size: 12) = (content.length * size * 0.6).ceil
end
