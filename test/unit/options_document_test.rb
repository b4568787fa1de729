# frozen_string_literal: true

require_relative "../helper"
require "rserve"

# docs/options.md has every word, flag and variable there is, and no other, with the defaults of the code.
class OptionsDocumentTest < Minitest::Test
  DOCUMENT = File.read(File.join(TestServer::ROOT, "docs/options.md"))
  ROWS = DOCUMENT.lines.grep(/^\| /).map { |line| line.strip.split(/(?<!\\)\|/).drop(1).map(&:strip) }
  # Words whose option has another name, or one that names what has none of its own.
  OPTIONS = { "bind" => :binds, "set_remote_address" => :remote_address }.freeze
  # A value that depends on the place, and a hook.
  IN_WORDS = %i[tag out_of_band].freeze
  HIDDEN = %i[_load_from _offer_plugins path].freeze

  def test_every_word_is_there
    words = [Rserve::DSL, Rserve::DSL::OwnWords].flat_map(&:public_instance_methods)
    missing = (words - Object.public_instance_methods - HIDDEN).uniq.reject { |word| documented?(word) }
    assert_empty missing - %i[rserve], "words that docs/options.md lacks"
  end

  def test_every_word_there_is_one
    named = first_cells.flat_map { |cell| cell.scan(/`([a-z_]+\d*!?)/).flatten }
    unknown = named.reject { |word| Rserve::DSL.method_defined?(word) || Rserve::DSL::OwnWords.method_defined?(word) }
    assert_empty unknown
  end

  def test_every_flag_is_there_and_no_other
    help = Rserve::Native.parse_command_line("rserve", "1", ["--help"]).fetch(:text)
    flags = help.scan(/(?<![\w-])--?[a-zA-Z][\w-]*/).uniq
    documented = ROWS.flat_map { |row| row.join(" ").scan(/`(--?[a-zA-Z][\w-]*)/).flatten }.uniq - ["-C -"]
    assert_equal flags.sort, documented.sort
  end

  def test_every_variable_of_the_operators_is_there
    read = Dir[File.join(TestServer::ROOT, "lib/**/*.rb")].flat_map do |path|
      File.read(path).scan(/(?:env|ENV)(?:\[|\.key\?\(|\.fetch\(|_value\()"((?:PUMA|RSERVE|WEB)_\w+)"/).flatten
    end
    assert_empty read.uniq - %w[PUMA_BUNDLER_PRUNED] - DOCUMENT.scan(/`(\w+)`/).flatten
  end

  def test_defaults_are_those_of_the_code
    compared = ROWS.count do |row|
      word = row.first[/\A`([a-z_]+!?)/, 1]
      default = row.size > 3 ? row[2] : row[1]
      option = OPTIONS.fetch(word, word)&.to_sym
      value = Rserve::Configuration::BASE_DEFAULTS[option]
      next if value.nil? || IN_WORDS.include?(option)

      assert default.delete("`").start_with?(value.inspect), "#{word}: #{default} is not #{value.inspect}"
      true
    end
    assert_operator compared, :>, 25
  end

  private

  def first_cells = ROWS.map(&:first)

  def documented?(word) = DOCUMENT.match?(/`#{Regexp.escape(word)}(?![\w!])/)
end
