# frozen_string_literal: true

require "cgi"

# What the charts are drawn with.
module Svg
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
end
