# frozen_string_literal: true

require "open3"
require "yaml"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"

# What the documents say of a running server is what it does: tables are compared both ways.
class DocumentsTest < ServerCase
  parallelize_me!

  DOCS = File.join(TestServer::ROOT, "docs")

  [6, 7, 8].product([0, 2], [false, true]).each do |level, workers, tls|
    define_method("test_metrics_at_level_#{level}_with_#{workers}_workers#{"_and_tls" if tls}") do
      spawn_controlled("--compat", level.to_s, "-w", workers.to_s, tls:)
      server_keys = metrics("A server", level, tls:)
      if workers.zero?
        assert_equal (metrics("Single mode", level) + server_keys).sort, stats.keys.sort
      else
        workers_told = server.wait_until("both workers have reported", 20) do
          told = stats["worker_status"]
          told if told.size == 2 && told.all? { |worker| worker["last_status"].any? }
        end
        assert_equal metrics("Cluster", level).sort, stats.keys.sort
        assert_equal [metrics("A worker", level).sort], workers_told.map { |worker| worker.keys.sort }.uniq
        assert_equal [server_keys.sort], workers_told.map { |worker| worker["last_status"].keys.sort }.uniq
      end
    end
  end

  def test_metrics_of_the_garbage_collector
    rows = table("metrics.md", "Garbage collector")
    documented = rows.filter_map do |key, rubies|
      first, last = rubies.split("–").map { |version| Gem::Version.new(version) }
      ruby = Gem::Version.new(RUBY_VERSION[/\A\d+\.\d+/])
      key.delete("`") if ruby >= first && (last.nil? || ruby <= last)
    end
    assert_equal GC.stat.keys.map(&:to_s).sort, documented.sort
    spawn_controlled
    assert_equal documented.sort, JSON.parse(ask("/gc-stats").last).keys.sort
  end

  # Each path with what it answers in single mode, whether it may be had with `data_only`, and the ones there are not.
  def test_paths_of_the_control_server
    rows = table("control.md", "Requests").select { |row| row.first.start_with?("`/") }
    paths = rows.map { |row| row.first.delete("`") }
    known = File.read(File.join(TestServer::ROOT, "lib/rserve/control/app/status.rb"))[/case command.*?^ *else/m]
    assert_equal known.scan(/"([a-z-]+)"/).flatten.grep_v(/_/).map { |name| "/#{name}" }.uniq.sort, paths.sort

    @token = nil
    spawn_controlled config: <<~RUBY
      activate_control_app "#{control_url}", { no_token: true, data_only: true }
      rserve { telemetry }
    RUBY
    rows.each do |path, data_only, statuses|
      path = path.delete("`")
      status, body = ask(path)
      if data_only == "yes"
        expected = path == "/generations" ? "404" : statuses.delete_suffix(", 404")
        assert_equal expected, status.to_s, path
        JSON.parse(body) unless path == "/metrics"
      else
        assert_equal [404, %(Command "#{path.delete_prefix("/")}" unavailable)], [status, body]
      end
    end
    assert_equal [404, "Command \"x\" unavailable"], ask("/x")
  end

  def test_answers_of_the_control_server
    spawn_controlled "-w", "1"
    assert_equal [403, "Invalid auth token"], ask("/stats", token: "wrong")
    assert_equal [404, "Unsupported action"], ask("/nothing")
    assert_equal [404, '{ "error": "refork not available" }'], ask("/refork")
    assert_equal [200, '{ "status": "ok" }'], ask("/gc")
    assert_equal 200, ask("/puma/stats").first
    assert_equal 400, raw_answer("NONSENSE\r\n\r\n").first
    assert_equal %w[name backtrace], JSON.parse(ask("/thread-backtraces").last).first.keys
    assert_equal 200, ask("/phased-restart").first
  end

  def test_commands_and_flags_of_rservectl
    known = Rserve::ControlCLI::CMD_PATH_SIG_MAP
    rows = table("rservectl.md", "Commands").to_h { |row| [row[0].delete("`"), row[1..]] }
    assert_equal known.keys.sort, rows.keys.sort
    help, status = rservectl("--help")
    assert_predicate status, :success?
    flags = ->(text) { text.scan(/(?<![\w-])--?[a-zA-Z][\w-]*/).uniq.sort }
    documented = ["Which server", "Other flags"].flat_map { |heading| table("rservectl.md", heading).map(&:first) }
    assert_equal flags.call(help), flags.call(documented.join(" "))
    known.each do |command, signal|
      assert_match(/^ +#{command} /, help)
      _, documented, = rows.fetch(command)
      expected = { nil => "–", "" => "0", "SIGINFO" => "INFO, PWR" }.fetch(signal) { signal.delete_prefix("SIG") }
      assert_equal expected, documented, command
    end
  end

  def test_exit_statuses_of_rservectl
    gone = Process.spawn("true").tap { |pid| Process.wait(pid) }.to_s
    { %w[status] => 1, ["-p", gone, "status"] => 1, ["-S", "/no/such/file", "status"] => 1,
      ["-p", gone, "stop"] => 1, ["-p", gone, "stats"] => 1, ["-p", Process.pid.to_s, "stats"] => 1,
      ["-P", "/no/such/file", "status"] => 1, %w[--no-such-flag status] => 1, %w[no-such-command] => 1,
      ["-C", "tcp://127.0.0.1:#{UniquePort.call}", "-T", "x", "status"] => 1 }.each do |arguments, code|
      output, status = rservectl("-F", "-", *arguments)
      assert_equal code, status.exitstatus, "#{arguments.join(" ")}: #{output}"
    end
    spawn_controlled
    { %w[-T secret status] => 0, %w[-T wrong status] => 0, %w[-T wrong stats] => 1, %w[-T secret refork] => 1,
      %w[-Q -T secret stats] => 0 }.each do |arguments, code|
      output, status = rservectl("-F", "-", "-C", control_url, *arguments)
      assert_equal code, status.exitstatus, "#{arguments.join(" ")}: #{output}"
    end
  end

  # What a person searches for has to be what the server says. The rest is the system's, nginx's or Rails'.
  OTHERS_SAY = ["bundle install", "Address already in use", "could not obtain a connection", "Blocked hosts",
                "Puma version: 6.6.0"].freeze

  def test_messages_of_the_troubles_are_the_servers
    code = Dir[File.join(TestServer::ROOT, "{lib,ext}/**/*.{rb,rs}")].map { |path| File.read(path) }.join
    symptoms = prose(File.join(DOCS, "troubleshooting.md")).lines.grep(/^\| /).map { |row| row.split(" | ").first }
    messages = symptoms.flat_map { |cell| cell.scan(/`([^`]* [^`]*)`/).flatten } - ["rservectl reopen-log"]
    messages.reject! { |message| message.start_with?(*OTHERS_SAY) }
    examples = %r{…|'stats'|config\.ru|config/puma\.rb:\d+: |pid \d+:|\d+s}
    parts = messages.flat_map { |message| message.split(examples) }.map(&:strip).grep(/ /)
    assert_operator parts.size, :>, 8
    assert_empty(parts.reject { |part| code.include?(part.delete_suffix(":").delete_prefix(", ").strip) })
  end

  def test_links_resolve
    dead = documents.flat_map do |path|
      prose(path).scan(/\]\(([^)\s]+)\)/).flatten.reject { |link| link.match?(/\A\w+:/) || resolves?(path, link) }
                 .map { |link| "#{File.basename(path)}: #{link}" }
    end
    assert_empty dead
  end

  def test_examples_in_yaml_parse
    blocks("yaml").each { |path, block| refute_empty YAML.load_stream(block), "#{path}:\n#{block}" }
  end

  def test_examples_in_ruby_parse
    blocks("ruby").each do |path, block|
      assert RubyVM::InstructionSequence.compile(block), path
    rescue SyntaxError => e
      flunk "#{path}: #{e.message}"
    end
  end

  def test_examples_of_the_shell_parse
    blocks("sh").each do |path, block|
      output, status = Open3.capture2e("bash", "-n", stdin_data: block)
      assert status.success?, "#{path}: #{output}"
    end
  end

  private

  def documents = Dir[File.join(DOCS, "*.md")] + [File.join(TestServer::ROOT, "README.md")]

  # A document without its examples.
  def prose(path) = File.read(path).gsub(/^```.*?^```/m, "")

  # @return [Array<Array(String, String)>] name of the document, and the example
  def blocks(language)
    documents.flat_map do |path|
      File.read(path).scan(/^ *```#{language}\n(.*?)^ *```$/m).map { |(block)| [File.basename(path), block] }
    end
  end

  def resolves?(path, link)
    file, anchor = link.split("#", 2)
    target = file.empty? ? path : File.expand_path(file, File.dirname(path))
    File.exist?(target) && (anchor.nil? || anchors(target).include?(anchor))
  end

  # As GitHub makes them of headings.
  def anchors(path)
    prose(path).scan(/^#+ (.*)$/).flatten.map { |heading| heading.downcase.gsub(/[^\p{Word}\- ]/, "").tr(" ", "-") }
  end

  # @return [Array<Array<String>>] the cells of the tables under a heading, without their heads
  def table(document, heading)
    section = File.read(File.join(DOCS, document))[/^## #{Regexp.escape(heading)}\n(.*?)(?=^## |\z)/m, 1]
    rows = section.lines.grep(/^\| /).map { |line| line.strip.split(/(?<!\\)\|/).drop(1).map(&:strip) }
    rows.reject { |row| row.first.match?(/\A(key|path|flag|command|status|---.*)\z/) }
  end

  def metrics(heading, level, tls: false)
    table("metrics.md", heading).filter_map do |key, levels|
      range, condition = levels.split(", ")
      first, last = range.split("–").map(&:to_i)
      # Those of fibers want Ruby 3.3: see `figures` in the fiber lane's tests.
      key.delete("`") if level.between?(first, last || first) && (condition.nil? || (tls && condition != "fibers"))
    end
  end

  def spawn_controlled(*arguments, tls: false, config: nil, **options)
    @token = "secret" unless config
    arguments += ["--control-url", control_url, "--control-token", @token] unless config
    if tls
      # All that some figures are there for.
      arguments += ["-b", tls_url]
      options[:config_file] = file("static.rb", "rserve { static 'docs' }\n")
    end
    spawn_server("-t", "0:2", *arguments, config:, **options)
    assert_log(/Starting control server/)
  end

  def control_url = "tcp://127.0.0.1:#{@control_port ||= UniquePort.call}"

  def tls_url
    certificate, key = Certificates.new(folder).issue("localhost")
    "ssl://127.0.0.1:#{UniquePort.call}?cert=#{certificate}&key=#{key}"
  end

  def stats = JSON.parse(ask("/stats").last)

  # @return [Array(Integer, String)] status and body
  def ask(path, token: @token) = raw_answer("GET #{path}#{"?token=#{token}" if token} HTTP/1.0\r\n\r\n")

  def raw_answer(octets)
    socket = TCPSocket.new("127.0.0.1", @control_port)
    socket.write(octets)
    head, body = socket.read.split("\r\n\r\n", 2)
    [Integer(head[/ (\d+) /, 1]), body]
  ensure
    socket&.close
  end

  def rservectl(*arguments)
    Open3.capture2e(RbConfig.ruby, "-Ilib", TestServer.rservectl, *arguments, chdir: TestServer::ROOT)
  end
end
