# frozen_string_literal: true

require "rake"
require_relative "../helper"

# The pages of docs/, in the repository and as the site that `make docs` makes of them.
class SiteTest < Minitest::Test
  ROOT = TestServer::ROOT

  def setup
    return if defined?(Site)

    load File.join(ROOT, "gem/tasks/package.rake") unless defined?(Packages)
    load File.join(ROOT, "gem/tasks/docs.rake")
  end

  def test_every_page_is_in_the_table_of_contents_once
    listed = Site.summary.scan(/\]\(([^)]+)\)/).flatten
    assert_equal Site.pages.keys.sort, listed.sort
    assert_equal Dir[File.join(ROOT, "docs/*.md")].map { |path| File.basename(path) }.sort,
                 (listed - ["README.md", "api.md", *Site::OTHERS]).sort, "README.md's tables name every page of docs/"
  end

  def test_every_link_leads_to_a_page_and_a_heading
    Dir.mktmpdir do |place|
      Site.stage(place)
      pages = Site.pages
      pages.each do |name, text|
        links(text).each do |link|
          page, anchor = link.split("#", 2)
          page = name if page.empty?
          next if page.start_with?("api/") # YARD's

          assert_path_exists File.join(place, "src", page), "#{name}: #{link}"
          assert_includes headings(pages.fetch(page)), anchor, "#{name}: #{link}" if anchor
        end
      end
    end
  end

  private

  def without_code(text) = text.gsub(/^( *)```.*?^\1```$/m, "")

  def links(text) = without_code(text).scan(/\]\(([^)\s]+)\)/).flatten.grep_v(/\A\w+:/)

  # As GitHub and mdBook call them.
  def headings(text)
    without_code(text).scan(/^#+ (.*)$/).flatten.map do |heading|
      heading.gsub(/\[([^\]]*)\]\([^)]*\)/, '\1').downcase.gsub(/[^\p{Alnum}_ -]/, "").tr(" ", "-")
    end
  end
end
