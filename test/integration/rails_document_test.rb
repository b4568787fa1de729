# frozen_string_literal: true

require_relative "../helpers/rails_case"

# README.md and docs/rails.md, followed with the Rails that is here.
class RailsDocumentTest < RailsCase
  DOCUMENT = File.read(File.join(TestServer::ROOT, "docs/rails.md"))
  # Gems that `rails new` asks for and that a page does not need.
  LEFT_OUT = %w[brakeman rubocop-rails-omakase debug web-console tzinfo-data byebug sass-rails].freeze
  SHORT = %w[--minimal].freeze

  # What `rails new shop` of Rails 8, which is in no Debian, has written: Dockerfile, bin/docker-entrypoint and
  # config/puma.rb.
  RAILS8 = Dir.glob(File.join(TestServer::ROOT, "test/rails8/*")).to_h do |path|
    [File.basename(path), Dir.children(path).to_h { |name| [name, File.read(File.join(path, name))] }]
  end
  # The packages that gems are built with, as Rails 7 names them.
  PACKAGES = "build-essential git pkg-config"
  # What makes the native gem's line needless.
  COPIED = "COPY vendor/* ./vendor/\nCOPY Gemfile"

  def setup
    super
    @version = Bundles.version("railties")
  end

  def test_from_rails_new_to_a_page
    skip "not here: propshaft" if @version >= Gem::Version.new("7.1") && !Bundles.installed?("propshaft")
    options = SHORT + (@version < Gem::Version.new("7.1") ? %w[--skip-listen] : %w[--asset-pipeline=propshaft])
    output = command(unbundled.merge("RAILS" => "#{RbConfig.ruby} -S rails", "LEAVE_OUT" => LEFT_OUT.join(" ")),
                     RbConfig.ruby, File.join(TestServer::ROOT, "test/new_rails"), *options)
    ["bin/rails server", "bundle exec rserve"].each do |words|
      assert_match(/^#{words}: 200, .*Ruby on Rails.*, rserve version: #{Rserve::VERSION}$/, output)
    end
  end

  def test_the_diffs_are_to_what_rails_makes
    skip "Rails before 7.1 makes no Dockerfile" if @version < Gem::Version.new("7.1")
    command(unbundled, RbConfig.ruby, "-S", "rails", "new", "shop", *SHORT, "--skip-git", "--skip-bundle",
            chdir: folder)
    rust, native, entrypoint, = diffs
    dockerfile = File.read(File.join(@folders.last, "shop/Dockerfile"))
    apply_rust(rust, dockerfile)
    apply(native, dockerfile) unless dockerfile.include?(COPIED)
    apply(entrypoint, File.read(File.join(@folders.last, "shop/bin/docker-entrypoint")))
  end

  def test_what_it_says_of_rails_8
    rust, native, _, entrypoint = diffs
    older = RAILS8.fetch("8.0.4")
    newer = RAILS8.fetch("8.1.3")
    RAILS8.each_value do |files|
      dockerfile = files.fetch("Dockerfile")
      assert_includes apply_rust(rust, dockerfile), "libyaml-dev"
      apply(entrypoint, files.fetch("docker-entrypoint"))
      assert_match(/`#{Regexp.escape(dockerfile[/^CMD (.*)$/, 1])}` in Rails 8/, DOCUMENT)
    end
    apply(native, older.fetch("Dockerfile"))
    assert_includes newer.fetch("Dockerfile"), COPIED
    assert_match(/LD_PRELOAD/, newer.fetch("Dockerfile"))
    assert_match(/LD_PRELOAD/, older.fetch("docker-entrypoint"))
  end

  def test_the_configuration_that_rails_8_writes_is_taken
    place = folder
    FileUtils.mkdir_p(File.join(place, "config"))
    File.write(File.join(place, "config/puma.rb"), RAILS8.fetch("8.1.3").fetch("puma.rb"))
    File.write(File.join(place, "config.ru"), "run ->(_) { [200, {}, []] }\n")
    said = command({ "PORT" => "0" }, RbConfig.ruby, "-I#{TestServer::ROOT}/lib", TestServer.rserve, "--check",
                   chdir: place)
    assert_match(/^Threads +3 to 3$.*^Plugins +tmp_restart$/m, said)
  end

  # Rails 7's and 8's entrypoints, as they are and with the document's change: the database is prepared for the command
  # that serves.
  def test_the_entrypoint_prepares_the_database_for_the_command_that_serves
    of7, of8 = diffs.drop(2).map { |diff| [before(diff), after(diff)] }
    rails = %w[./bin/rails server]
    rserve = %w[bundle exec rserve]
    { of7[0] => [rails], of8[0] => [rails, ["./bin/thrust", *rails]], of7[1] => [rserve], of8[1] => [rserve] }
      .each do |entrypoint, commands|
        (commands | [rails, rserve, %w[./bin/rails console]]).each do |words|
          prepares = commands.include?(words)
          assert_equal prepares ? "db:prepare\n" : "", run_entrypoint(entrypoint, words), "#{entrypoint}\n#{words}"
        end
      end
  end

  private

  # Two to the Dockerfile, and two to the entrypoint: Rails 7's and 8's.
  def diffs
    DOCUMENT.scan(/^( *)```diff\n(.*?)^ *```$/m).map { |indent, diff| diff.gsub(/^#{indent}/, "") }
            .tap { |found| assert_equal 4, found.size }
  end

  def before(diff) = side(diff, "+")
  def after(diff) = side(diff, "-")

  def side(diff, other)
    diff.lines.reject { |line| line.start_with?(other) }.map { |line| line[1..] || "\n" }.join.gsub(/ +$/, "")
  end

  def apply(diff, text)
    assert_includes text.gsub(/ +$/, ""), before(diff).chomp
  end

  # To whatever packages are in the line.
  # @return [String] those
  def apply_rust(diff, dockerfile)
    packages = dockerfile[/-y (build-essential .*?) &&/, 1]
    apply(diff.gsub(PACKAGES, packages), dockerfile)
    packages
  end

  # @return [String] what it asks `bin/rails` for
  def run_entrypoint(text, words)
    place = folder
    FileUtils.mkdir_p(File.join(place, "bin"))
    File.write(File.join(place, "bin/rails"), "#!/bin/sh\necho \"$@\"\n", perm: 0o755)
    command({}, "bash", "-ec", text, "entrypoint", *words, chdir: place)
  end
end
