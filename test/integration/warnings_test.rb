# frozen_string_literal: true

require "open3"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"

# `ruby -w` has nothing to say of rserve: neither of its files, each the first to be loaded, nor of a server that runs.
class WarningsTest < ServerCase
  LIB = File.join(TestServer::ROOT, "lib")
  # Parts of a file that loads them, and what needs Rails, Capybara or rackup.
  PARTS = %r{\Arserve/(process/cluster/|dsl/|server/answers|railtie|capybara|compat/)|\A(rack|rackup)/}

  # Loads each of the files named in ARGV in a process of its own.
  LOADER = <<~RUBY
    ARGV.each do |file|
      Process.wait(fork { require file; exit!(0) })
      warn "\#{file}: \#{$?}" unless $?.success?
    end
  RUBY

  def setup
    super
    skip "it is rserve that is looked at" if TestServer::PUMA
  end

  def test_each_file_that_is_loaded_first
    assert_equal "", load_each(features(LIB).grep_v(PARTS), LIB)
  end

  def test_each_file_under_pumas_names
    facade = File.join(LIB, "rserve/compat")
    assert_equal "", load_each(features(facade).grep(%r{\Apuma(\z|/)}), LIB, facade)
  end

  def test_servers
    certificate, key = Certificates.new(folder).issue("localhost")
    tls = "ssl://127.0.0.1:#{UniquePort.call}?cert=#{certificate}&key=#{key}"
    %w[6 8].product([[], %w[-w 2], %w[-w 2 --preload --fork-worker]]).each do |level, mode|
      state = File.join(folder, "state")
      spawn_server("--compat", level, "-S", state, "--control-url", "unix://#{folder}/control", "-b", tls, "-v", *mode,
                   env: { "RUBYOPT" => "-w" })
      assert_log(/Worker 1 .* booted/) if mode.any?
      assert_serving
      assert_equal 400, request("NONSENSE\r\n\r\n").status
      %w[status thread-backtraces].each do |command|
        output, status = rservectl("-S", state, command)
        assert_predicate status, :success?, output
        assert_empty of_rserve(output)
      end
      hot_restart
      assert server.stop
      assert_empty of_rserve(server.log), "#{level} #{mode.join(" ")}"
    end
  end

  def test_a_check_and_a_faulty_configuration
    ["bind 'tcp://127.0.0.1:0'\n", "wrokers 2\n"].each do |config|
      output, = Open3.capture2e(RbConfig.ruby, "-w", "-I#{LIB}", TestServer.rserve, "--check", "-C",
                                file("config.rb", config), "test/rackup/hello.ru", chdir: TestServer::ROOT)
      assert_match(/Ready to start|did you mean/, output)
      assert_empty of_rserve(output)
    end
  end

  private

  def features(folder)
    Dir.glob("**/*.rb", base: folder).map { |path| path.delete_suffix(".rb") }.sort
  end

  # @return [String] what Ruby said
  def load_each(files, *load_path)
    refute_empty files
    output, status = Open3.capture2e(RbConfig.ruby, "-w", *load_path.flat_map { |path| ["-I", path] }, "-e", LOADER,
                                     *files, chdir: TestServer::ROOT)
    assert_predicate status, :success?
    of_rserve(output).join
  end

  # Other gems' warnings are theirs.
  def of_rserve(output) = output.lines.grep(/warning: .*rserve|rserve.*warning: |: pid \d+ exit|LoadError/)

  def rservectl(*arguments)
    Open3.capture2e(RbConfig.ruby, "-w", "-I#{LIB}", TestServer.rservectl, *arguments, chdir: TestServer::ROOT)
  end
end
