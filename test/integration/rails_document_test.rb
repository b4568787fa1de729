# frozen_string_literal: true

require_relative "../helpers/rails_case"

# docs/rails.md, followed with the Rails that is here.
class RailsDocumentTest < RailsCase
  DOCUMENT = File.read(File.join(TestServer::ROOT, "docs/rails.md"))
  # What `rails new` asks for and is no part of the way to a page.
  LEFT_OUT = /brakeman|rubocop|debug|web-console|tzinfo-data|puma/

  def setup
    super
    skip "Rails before 7.1 makes no Dockerfile" if Bundles.version("railties") < Gem::Version.new("7.1")
    command(unbundled, RbConfig.ruby, "-S", "rails", "new", "shop", "--minimal", "--asset-pipeline=propshaft",
            "--skip-git", "--skip-bundle", chdir: folder)
    @shop = File.join(@folders.last, "shop")
  end

  def test_from_rails_new_to_a_page
    lines = File.readlines(File.join(@shop, "Gemfile")).grep(/^gem /).grep_v(LEFT_OUT)
    env = bundle(@shop, "#{lines.join}gem 'rserve', path: #{TestServer::ROOT.dump}\n")
    assert_match(/Ready to start/,
                 command(env, RbConfig.ruby, "-S", "bundle", "exec", "rserve", "--check", chdir: @shop))
    [["bin/rails", "server"], ["bin/rails", "server", "-u", "rserve"],
     ["-S", "bundle", "exec", "rserve"]].each do |words|
      port = UniquePort.call
      start_process([RbConfig.ruby, *words, "-p", port.to_s], port:, chdir: @shop, env:)
      assert_includes get("/").body, "<title>Ruby on Rails"
      assert_equal 200, get("/up").status
      assert_includes File.read("/proc/#{server.pid}/maps"), "rserve.so"
      assert server.stop
    end
  end

  def test_the_diff_of_the_dockerfile_is_one_to_what_rails_makes
    rust, native = DOCUMENT.scan(/^```diff\n(.*?)^```$/m).flatten
    entrypoint = DOCUMENT[/^  ```diff\n(.*?)^  ```$/m, 1].gsub(/^  /, "")
    { rust => "Dockerfile", native => "Dockerfile", entrypoint => "bin/docker-entrypoint" }.each do |diff, name|
      text = File.read(File.join(@shop, name))
      before = diff.lines.reject { |line| line.start_with?("+") }.map { |line| line[1..] }.join
      assert_includes text.gsub(/ +$/, ""), before.gsub(/ +$/, ""), "what #{name} has before"
    end
  end
end
