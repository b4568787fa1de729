# frozen_string_literal: true

require "rake"
require "yaml"
require_relative "../helper"

# The workflows do nothing that cannot be done here: they make targets of the Makefile, for Rubies that the gems know.
class WorkflowsTest < Minitest::Test
  ROOT = TestServer::ROOT
  FILES = Dir[File.join(ROOT, ".github/workflows/*.yml")]

  def test_targets_are_the_makefiles
    makefile = File.read(File.join(ROOT, "Makefile"))
    targets = makefile.scan(/^([\w -]+):(?!=)/).flat_map { |names,| names.split }
    asked = commands.flat_map { |text| text.scan(%r{(?:^|&& )(?:.*gem/tasks/image|make) ([a-z][^\n'";|&]*)}) }
                    .flat_map { |words,| words.split.grep_v(/=|\A\$|[{}.]/) }
    assert_includes asked, "reproducible"
    assert_empty asked.uniq - targets
  end

  def test_scripts_are_there
    scripts = commands.flat_map { |text| text.scan(%r{(?:\.ci|gem/tasks)/\w+}) }.uniq
    assert_includes scripts, "gem/tasks/image"
    scripts.each { |path| assert File.executable?(File.join(ROOT, path)), path }
  end

  def test_rubies_are_those_of_the_gems
    load File.join(ROOT, "gem/tasks/package.rake") unless defined?(Packages)
    jobs.each { |job| assert_empty Array(job.dig("strategy", "matrix", "ruby")) - Packages::MINORS }
  end

  private

  def jobs
    assert_equal 2, FILES.size
    FILES.flat_map { |path| YAML.safe_load_file(path).fetch("jobs").values }
  end

  def commands = jobs.flat_map { |job| job.fetch("steps").filter_map { |step| step["run"] } }
end
