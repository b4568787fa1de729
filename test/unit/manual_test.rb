# frozen_string_literal: true

require "open3"
require "rake"
require_relative "../helper"

# The manual pages and completions that the gem brings; that of `rserve` is compared by ext/rserve-core/tests/manual.rs.
class ManualTest < Minitest::Test
  ROOT = TestServer::ROOT

  def setup
    load File.join(ROOT, "gem/tasks/manual.rake") unless defined?(Manual)
    load File.join(ROOT, "gem/tasks/package.rake") unless defined?(Packages)
  end

  def test_what_is_kept_is_what_the_definition_of_the_command_line_makes
    Manual.files.each do |path, text|
      assert_equal text, File.read(File.join(ROOT, path)), "#{path}: make manual"
    end
  end

  def test_the_page_has_every_command_and_flag
    page = Manual.page
    Rserve::ControlCLI::CMD_PATH_SIG_MAP.each_key { |command| assert_includes page, Manual.bold(command) }
    assert_includes Manual.all_flags.flat_map(&:names), "--control-url"
    Manual.all_flags.flat_map(&:names).each { |name| assert_includes page, Manual.bold(name) }
  end

  def test_the_gem_brings_them
    files = %w[rserve rservectl].flat_map do |name|
      ["man/#{name}.1", "completions/#{name}.bash", "completions/_#{name}", "completions/#{name}.fish"]
    end
    [Packages.spec, Packages.native_spec(%w[3.1.0])].each { |spec| assert_empty files - spec.files }
  end

  def test_bash_completes_commands_flags_and_leaves_values_to_its_default
    {
      %w[rservectl phased] => %w[phased-restart], %w[rservectl --pid] => %w[--pidfile --pid],
      %w[rservectl -S x worker-count] => %w[worker-count-up worker-count-down], %w[rservectl --state st] => [],
      %w[rserve --log-f] => %w[--log-format], %w[rserve --log-format j] => %w[json]
    }.each { |words, expected| assert_equal expected.sort, completed(words).sort, words.join(" ") }
  end

  private

  def completed(words)
    script = <<~BASH
      compopt() { :; } # which only a completion may call
      source completions/#{words.first}.bash
      COMP_WORDS=(#{words.join(" ")}); COMP_CWORD=#{words.size - 1}
      _#{words.first} #{words.first} #{words.last} #{words[-2]}
      printf '%s\\n' "${COMPREPLY[@]}"
    BASH
    output, status = Open3.capture2e("bash", "--norc", "-c", script, chdir: ROOT)
    assert_predicate status, :success?, output
    output.split
  end
end
