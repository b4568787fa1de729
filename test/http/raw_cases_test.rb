# frozen_string_literal: true

require_relative "../helpers/fiber_case"
require_relative "case_runner"

# Every raw case, whole and cut at packet boundaries, on one process and on a cluster.
class RawCasesTest < ServerCase
  CASES = CaseTable.load

  # A case up to this long is cut at every octet, a longer one at some.
  SHORT = 160

  def self.limit = 120

  def test_whole
    assert_cases(CASES.map { |kase| [kase, []] })
  end

  def test_whole_in_a_cluster
    assert_cases(CASES.map { |kase| [kase, []] }, "-w", "2")
  end

  def test_cut_in_two
    assert_cases(CASES.flat_map { |kase| cuts(kase).map { |at| [kase, [at]] } })
  end

  # Servers that are configured otherwise, and what is different there.
  CONFIGURED = {
    "strict" => "rserve { strict }",
    "limited" => "http_content_length_limit 10",
    "any_method" => "supported_http_methods :any",
    "static" => "rserve { static 'test/http/files' }",
    "proxy_v1" => "set_remote_address proxy_protocol: :v1",
    "proxy_v2" => "rserve { proxy_protocol :v2, from: '127.0.0.0/8' }"
  }.freeze

  # A body that the application reads while it comes is the same body.
  READ_AS_THEY_COME = CASES.map { |kase| kase.dup.tap { |it| it.env = it.env&.except("CONTENT_LENGTH") } }

  def test_bodies_that_are_read_while_they_come
    runs = READ_AS_THEY_COME.flat_map { |kase| [[], *cuts(kase).map { |at| [at] }].map { |at| [kase, at] } }
    assert_cases(runs, config: "rserve { stream_uploads '/*' }\n")
  end

  def test_bodies_that_are_read_while_they_come_in_fibers
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    skip "not here: async 2" unless FiberCase.async?
    [6, 7, 8].each { |level| assert_read_while_they_come("#{level}; rserve { fiber_scheduler }") }
  end

  def test_bodies_that_are_read_while_they_come_at_every_level
    [7, 8].each { |level| assert_read_while_they_come(level) }
  end

  # What follows a refusal hangs on the level's own answer.
  [7, 8].each do |level|
    define_method("test_methods_at_level_#{level}") do
      cases = CASES.select { |kase| kase.name.start_with?("methods:") }
      assert_cases(cases.map { |kase| [kase, []] }, "--compat", level.to_s)
    end
  end

  CONFIGURED.each do |folder, config|
    define_method("test_#{folder}") do
      cases = CaseTable.load(folder)
      runs = cases.flat_map { |kase| [[], *cuts(kase).map { |at| [at] }].map { |at| [kase, at] } }
      assert_cases(runs, config: "#{config}\n")
    end
  end

  def test_a_proxy_that_is_not_trusted
    log = file("oracle.log", "")
    spawn_server app: "test/http/oracle.ru", env: { "ORACLE_LOG" => log },
                 config: "rserve { proxy_protocol :v1, from: %w[10.0.0.0/8] }\n"
    assert_equal 400, request("PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n").status
    assert_serving "GET / 0\n"
    assert_equal "127.0.0.1", JSON.parse(File.read(log).lines.last).dig("env", "REMOTE_ADDR")
  end

  def test_octet_by_octet
    short = CASES.select { |kase| kase.octets.bytesize <= SHORT }
    assert_cases(short.map { |kase| [kase, (1...kase.octets.bytesize).to_a] })
  end

  private

  def cuts(kase)
    size = kase.octets.bytesize
    return (1..size).to_a if size <= SHORT

    # Around every line's end, and evenly between: that is where readers change their minds.
    ends = kase.octets.enum_for(:scan, "\n").map { Regexp.last_match.begin(0) }.first(40).flat_map { |at| [at, at + 1] }
    (ends + (1..16).map { |part| size * part / 17 } + [size]).uniq.select(&:positive?).sort
  end

  def assert_read_while_they_come(level)
    # From Puma 7 on HTTP_VERSION is a client's field where Rack is 3.
    cases = READ_AS_THEY_COME.reject { |kase| kase.env&.key?("HTTP_VERSION") }
    assert_cases(cases.map { |kase| [kase, []] }, config: <<~RUBY)
      puma_compat #{level}
      rserve { stream_uploads '/*' }
    RUBY
  end

  def assert_cases(runs, *arguments, config: nil)
    log = file("oracle.log", "")
    spawn_server("-t", "2:4", *arguments, app: "test/http/oracle.ru", env: { "ORACLE_LOG" => log }, config:)
    faults = CaseRunner.new(ServerProcess::HOST, server.port, log).run(runs)
    assert faults.empty?, ["#{faults.size} of #{runs.size} runs went wrong:", *faults.first(20)].join("\n")
    assert_serving "GET / 0\n"
  end
end
