# frozen_string_literal: true

require "bundler"
require "fileutils"
require "open3"
require "tmpdir"

# docs/ as a site: mdBook's pages, with YARD's of the Ruby API in `api/`.
#
# MDBOOK  the program, if not one on PATH or in .cache/cargo
module Site
  ROOT = File.expand_path("../..", __dir__)
  CACHE = File.join(ROOT, ".cache/cargo")
  # With what the site needs of it.
  INSTALL = %w[cargo install mdbook --version 0.5.4 --locked --no-default-features --features search --quiet].freeze
  OTHERS = %w[CHANGELOG.md CONTRIBUTING.md SECURITY.md].freeze

  module_function

  def folder = File.join(Packages.folder, "docs")

  # @return [Hash] texts of the pages, by name; README.md is the first, and says which others there are, in what order
  def pages
    names = { "README.md" => "README.md" }
    readme.scan(%r{\]\(docs/([\w-]+\.md)[)#]}) { |name,| names[name] ||= "docs/#{name}" }
    OTHERS.each { |name| names[name] = name }
    names.transform_values { |path| relinked(File.read(File.join(ROOT, path))) }.merge("api.md" => API)
  end

  API = <<~MARKDOWN
    # The Ruby API

    What the gem's classes and methods are for: [its reference](api/index.html), made of the source. Names that are
    Puma's are described by [Puma](https://puma.io).
  MARKDOWN

  # Everything lies in one folder there.
  def relinked(text) = text.gsub(%r{\]\((?:docs/|\.\./)}, "](")

  def readme = File.read(File.join(ROOT, "README.md"))

  # The table of contents: README's tables, and what the project has to say of itself.
  def summary
    used, understood = readme.scan(/^\| to (?:use|understand) it \|.*?(?=\n\n|\z)/m)
    parts = { "To use it" => chapters(used), "To understand it" => chapters(understood) - OTHERS,
              "The project" => ["api.md", *OTHERS] }
    lists = parts.map do |title, names|
      ["# #{title}", "", *names.map { |name| "- [#{heading(name)}](#{name})" }].join("\n")
    end
    ["# Summary", "[rserve](README.md)", *lists, ""].join("\n\n")
  end

  def chapters(table) = relinked(table).scan(/^\| \[[^\]]*\]\(([\w-]+\.md)\)/).flatten

  def heading(name) = pages.fetch(name)[/\A# (.*)/, 1]

  def stage(place)
    source = File.join(place, "src")
    FileUtils.mkdir_p(source)
    pages.merge("SUMMARY.md" => summary).each { |name, text| File.write(File.join(source, name), text) }
    others = Dir[File.join(ROOT, "docs/*")].reject { |path| path.end_with?(".md") }
    FileUtils.cp_r([*others, File.join(ROOT, "LICENSE")], source)
    FileUtils.cp(Dir[File.join(ROOT, "gem/site/*")], place)
  end

  # @return [String, nil] the program; installed where there is none, unless that is not possible
  def mdbook
    given = ENV.fetch("MDBOOK", "mdbook")
    return given if system(given, "--version", out: File::NULL, err: File::NULL)

    own = File.join(CACHE, "bin/mdbook")
    return own if File.executable?(own)

    puts "Installing mdbook into #{CACHE}"
    own if system("nice", *INSTALL, "--root", CACHE)
  end

  # YARD is no gem of the bundle.
  #
  # @return [String] what it says
  # @raise [RuntimeError] if that is a warning
  def api
    database = File.join(Dir.tmpdir, "rserve-yard-#{Process.pid}")
    command = ["yard", "doc", "--no-progress", "--db", database, "--output-dir", File.join(folder, "api")]
    said, status = Bundler.with_unbundled_env { Open3.capture2e(*command, chdir: ROOT) }
    return said if status.success? && !said.match?(/\[(warn|error)\]/)

    raise "YARD has something to say:\n#{said}"
  ensure
    FileUtils.rm_rf(database)
  end
end

desc "Build docs/ and the reference of the Ruby API as a site, into pkg/docs"
task :docs do
  FileUtils.mkdir_p(Site.folder)
  program = Site.mdbook
  if program
    Dir.mktmpdir("rserve-docs") do |place|
      Site.stage(place)
      sh program, "build", place, "--dest-dir", Site.folder, verbose: false
    end
  else
    puts "No mdbook, and cargo could not install it: the pages are left out"
  end
  puts Site.api
  puts "#{Site.folder}/index.html is ready" if program
rescue Errno::ENOENT
  puts "No yard: the reference of the Ruby API is left out"
end
