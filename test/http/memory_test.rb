# frozen_string_literal: true

require_relative "../helpers/certificates"
require_relative "faults_test"

# A value that the native side holds without Ruby's knowing of it is gone, or elsewhere, after the next collection. So
# there is one all the time.
class MemoryTest < ServerCase
  def self.limit = 400

  # Before `Server#run`, where listeners are added: each allocation collects. `/start` begins it again for the requests.
  STRESSED = <<~'RUBY'
    require "rserve/server"
    # Not when the app is loaded: that takes minutes.
    Rserve::Server.prepend(Module.new do
      def run(...)
        GC.stress = true
        super.tap { GC.stress = false }
      end
    end)
    run lambda { |env|
      GC.stress = env["PATH_INFO"] == "/start" if env["PATH_INFO"].start_with?("/st")
      body = env["rack.input"]&.read.to_s
      each = Enumerator.new { |out| 3.times { |part| out << "part #{part}\n" } }
      text = { "content-type" => "text/plain" }
      case env["PATH_INFO"]
      when "/each" then [200, text, each]
      when "/call" then [200, text, ->(io) { io.write("streamed"); io.close }]
      when "/file" then [200, text, File.open(__FILE__)]
      when "/path" then [200, text, Class.new { def to_path = Pathname(__FILE__); def each = nil }.new]
      when "/pairs" then [200, Array.new(36) { |n| ["X-Name-#{n}", Class.new { define_method(:to_s) { "value #{n}" } }.new] }, ["a"]]
      when "/hijack" then [200, { "rack.hijack" => ->(io) { io.write("hijacked"); io.close } }, []]
      when "/hints" then env["rack.early_hints"].call({ "link" => ["</a>", "</b>"] }) && nil || [200, text, ["hinted"]]
      when "/raise" then raise "on purpose"
      else [200, { "x-list" => "a\nb", "x-port" => env["SERVER_PORT"], "connection" => "x" }, ["#{env["HTTP_X_SENT"]} #{body.sum}"]]
      end
    }
  RUBY

  def test_listeners_and_requests_survive_collections
    with_stress do |plain, tls|
      ask_each(plain)
      ask_some(tls, tls: true)
    end
  end

  def test_listeners_and_requests_of_a_worker_survive_collections
    with_stress("-w", "1", "--compat", "8") do |plain, tls|
      ask_some(plain)
      ask_some(tls, tls: true)
    end
  end

  # The app tables, where each request finds that compaction has moved what it may.
  def test_each_fault_while_everything_moves
    ENV["FAULTS_COMPACT"] = "1"
    faults = FaultsTest.new("test_each_fault")
    faults.run.then { |result| assert_predicate result, :passed?, result.failures.map(&:message).join("\n") }
  ensure
    ENV.delete("FAULTS_COMPACT")
  end

  private

  # @yieldparam plain [Integer] a listener's port
  # @yieldparam tls [Integer] and another's
  def with_stress(*arguments)
    cert, key = Certificates.new(folder).issue("server")
    plain, tls = Array.new(2) { UniquePort.call }
    binds = ["-b", "tcp://127.0.0.1:#{plain}", "-b", "ssl://127.0.0.1:#{tls}?cert=#{cert}&key=#{key}"]
    app = file("stressed.ru", STRESSED)
    spawn_server("-t", "1:1", "--early-hints", *arguments, *binds, listen: false, wait: false, app:)
    server.wait_for_log(/Ctrl-C/, timeout: 60)
    yield plain, tls
    refute_log(/BUG|panicked/)
  end

  def ask_each(port)
    stressed(port) do
      assert_includes ask(port, "GET /call"), "streamed"
      assert_includes ask(port, "GET /file"), "run lambda"
      assert_includes ask(port, "GET /path"), "run lambda"
      assert_equal 36, ask(port, "GET /pairs").scan(/^x-name-\d+: value \d+\r$/i).size
      assert_includes ask(port, "GET /hijack"), "hijacked"
      assert_includes ask(port, "GET /hints"), "103 Early Hints"
      assert_includes ask(port, "GET /raise"), " 500 "
      assert_includes ask(port, "nonsense"), " 400 "
    end
    ask_some(port)
  end

  def ask_some(port, tls: false)
    body = "b" * 70_000
    stressed(port, tls:) do
      assert_includes ask(port, "GET /each", tls:), "part 0\n"
      answer = ask(port, "POST /post", "Content-Length: 70000\r\nX-Sent: sent\r\nX-Sent: twice", body, tls:)
      assert_includes answer, "sent, twice #{body.sum}"
      assert_includes answer, "x-port: #{port}"
    end
  end

  def stressed(port, tls: false)
    ask(port, "GET /start", tls:)
    yield
    ask(port, "GET /stop", tls:)
  end

  def ask(port, what, fields = "X-Name: a", body = "", tls: false)
    socket = TCPSocket.new("127.0.0.1", port)
    socket = OpenSSL::SSL::SSLSocket.new(socket).tap { |secure| secure.sync_close = true }.connect if tls
    socket.write("#{what} HTTP/1.1\r\nHost: a:#{port}\r\nConnection: close\r\n#{fields}\r\n\r\n#{body}")
    Timeout.timeout(Patience.for(60)) { socket.read }
  ensure
    socket&.close
  end
end
