# frozen_string_literal: true

require_relative "../helper"
require "open3"
require "tmpdir"

# What a developer on macOS gets: a gem that can be installed, one line, and Puma if it is there.
class PlatformTest < TimedTestCase
  ROOT = File.expand_path("../..", __dir__)
  ELSEWHERE = 'RbConfig::CONFIG["host_os"] = "darwin23"; '

  def test_the_command_leaves_serving_to_puma_or_says_what_to_do
    # Puma is in no bundle of this project.
    said, status = elsewhere("load '#{ROOT}/gem/exe/rserve'", "--version")
    assert_equal 1, status.exitstatus
    assert_equal "rserve: rserve runs on Linux only, and this is darwin23. For this machine, add to the Gemfile: " \
                 "gem \"puma\", install_if: -> { !RUBY_PLATFORM.include?(\"linux\") }\n", said
    said, status = elsewhere("def Gem.bin_path(*) = '#{stand_in}'; load '#{ROOT}/gem/exe/rserve'", "-p", "3000")
    assert_equal [0, ["rserve runs on Linux only, and this is darwin23: Puma serves", "-p 3000"]],
                 [status.exitstatus, said.lines(chomp: true)]
  ensure
    FileUtils.rm_rf(@folder) if @folder
  end

  def test_the_library_is_left_out_in_one_line
    said, status = elsewhere("require 'rserve'; p defined?(Rserve::Server)")
    assert_equal [0, "rserve runs on Linux only, and this is darwin23: it is not loaded\nnil\n"],
                 [status.exitstatus, said]
  end

  def test_nothing_is_built
    Dir.mktmpdir do |folder|
      _, status = elsewhere("load '#{ROOT}/ext/rserve/extconf.rb'", chdir: folder)
      assert_equal 0, status.exitstatus
      assert system("make", "all", "install", "DESTDIR=#{folder}", chdir: folder, out: File::NULL)
      assert_equal ["Makefile"], Dir.children(folder)
    end
  end

  private

  def elsewhere(script, *arguments, chdir: ROOT)
    Open3.capture2e(RbConfig.ruby, "-I#{ROOT}/lib", "-rrbconfig", "-e", ELSEWHERE + script, "--", *arguments, chdir:)
  end

  # In place of Puma's command: says what it was given.
  def stand_in
    @folder = Dir.mktmpdir
    File.join(@folder, "puma").tap { |path| File.write(path, "puts ARGV.join(' ')\n") }
  end
end
