# frozen_string_literal: true

require_relative "../helpers/server_case"

# Whoever collects errors, by `lowlevel_error_handler` or by a module before `lowlevel_error`, learns of each once.
class ErrorHandlerTest < ServerCase
  def self.limit = 90

  APP = <<~'RUBY'
    # encoding: utf-8
    require "socket"
    closes = ->(parts) { Class.new { define_method(:each) { |&part| parts.each(&part) }; def close = raise("of close") }.new }
    faults = {
      "/call" => ->(_) { raise "of call" },
      "/each" => ->(_) { [200, {}, Enumerator.new { |out| out << "a" * 100_000; raise "of each" }] },
      "/each-at-once" => ->(_) { [200, {}, Enumerator.new { raise "of each-at-once" }] },
      "/stream" => ->(_) { [200, {}, ->(stream) { stream.write("a"); raise "of stream" }] },
      "/close" => ->(_) { [200, {}, closes.call(%w[a])] },
      "/hijack" => ->(env) { env["rack.hijack"].call.close; raise "of hijack" },
      "/partial" => ->(_) { [200, { "rack.hijack" => ->(_io) { raise "of partial" } }, []] },
      "/exits" => ->(_) { [200, {}, Enumerator.new { |out| out << "a" * 100_000; exit }] },
      "/encodings" => ->(_) { raise "of encodings \u00fc" },
      "/utf-16" => ->(_) { raise "of utf-16".encode("UTF-16LE") },
      "/binary" => ->(_) { raise "of binary \xFF".b }
    }
    run ->(env) { faults.fetch(env["PATH_INFO"]).call(env) }
  RUBY

  HANDLER = <<~RUBY
    environment "production"
    lowlevel_error_handler do |error, env, status|
      $stderr.write "told \#{error.message.b.delete("\\0")[/of [\\w-]+/] || error.class} at \#{env["PATH_INFO"]} \#{status}\\n"
      [500, {}, ["sorry"]]
    end
  RUBY

  # A module that a gem puts in front (Sentry's, Rollbar's), without a handler.
  PREPENDED = <<~RUBY
    Puma::Server.prepend(Module.new do
      def lowlevel_error(error, env, status = 500)
        $stderr.write "told \#{error.message.b.delete("\\0")[/of [\\w-]+/] || error.class} at \#{env["PATH_INFO"]} \#{status}\\n"
        super
      end
    end)
  RUBY

  PATHS = %w[call each each-at-once stream close hijack partial exits encodings utf-16 binary].freeze

  { "the handler" => HANDLER, "a module before lowlevel_error" => PREPENDED }.each do |who, config|
    [[], %w[-w 1], %w[--compat 8]].each do |arguments|
      define_method("test_#{who} with #{arguments.join(" ")} is told once of each".tr(" ", "_")) do
        spawn_server "-t", "2:2", *arguments, app: file("faults.ru", APP), config: config
        assert_told_once_of_each
      end
    end
  end

  # From level 8 on a method that is not supported counts as an error, and what follows the request is read for a while.
  def test_a_body_of_the_handlers_that_comes_in_parts_is_whole
    config = <<~'RUBY'
      lowlevel_error_handler do |_error, env, status|
        [status, {}, env["QUERY_STRING"].to_i.times.lazy.map { |part| "part #{part}," }]
      end
    RUBY
    spawn_server "--compat", "8", app: file("faults.ru", APP), config: config
    ["FOO /", "GET /call"].each do |line|
      3.times do |parts|
        response = request("#{line}?#{parts} HTTP/1.1\r\nHost: a\r\n\r\n")
        assert_equal [line.start_with?("FOO") ? 501 : 500, Array.new(parts) { |part| "part #{part}," }.join],
                     [response.status, response.body]
      end
    end
  end

  # Rails' reporter is told, too, from where it takes a source on.
  def test_rails_is_told_once_of_each
    {
      "def report(error, handled: true, source: nil) = tell(error, handled, source)" => true,
      "def report(error, **options) = tell(error, options[:handled], options[:source])" => true,
      "def report(error, handled:) = tell(error, handled, nil)" => false,
      "def report(error, handled: true, source: nil) = raise(\"its own\")" => nil
    }.each do |method, told|
      spawn_server "-t", "1:1", app: file("faults.ru", "#{rails(method)}#{APP}"), config: HANDLER
      assert_told_once_of_each
      wanted = PATHS.map { |path| "#{path == "exits" ? "SystemExit" : "of #{path}"} false rserve" }
      reported = server.log.b.scan(/^reported (.*)$/).flatten
      assert_equal told ? wanted.sort : [], reported.sort, method
    end
  end

  # The log is no condition: here it fails each time.
  def test_the_handler_is_asked_when_the_log_fails
    spawn_server "-t", "1:1", app: file("faults.ru", APP), config: <<~RUBY
      #{HANDLER}
      Puma::LogWriter.prepend(Module.new { def unknown_error(*) = raise("no log") })
    RUBY
    assert_told_once_of_each
  end

  private

  def assert_told_once_of_each
    answers = PATHS.to_h { |path| [path, answer_of(path)] }
    wanted = PATHS.map { |path| "told #{path == "exits" ? "SystemExit" : "of #{path}"} at /#{path} 500" }
    server.wait_until("all are told", 10) { told.size >= wanted.size }
    server.stop
    assert_equal wanted.sort, told.sort
    # Nothing was out yet.
    %w[call each-at-once encodings utf-16 binary].each { |path| assert_match(%r{\AHTTP/1.1 500 }, answers[path], path) }
  end

  def rails(report)
    <<~RUBY
      # encoding: utf-8
      module Rails
        Reporter = Class.new do
          def tell(error, handled, source)
            name = error.message.b.delete("\\0")[/of [\\w-]+/] || error.class
            $stderr.write "reported \#{name} \#{handled} \#{source}\\n"
          end
          #{report}
        end
        def self.error = @error ||= Reporter.new
      end
    RUBY
  end

  def told = server.log.b.scan(/^told .* at .*$/)

  def answer_of(path)
    # Octets that are no UTF-8, in the query.
    octets = "GET /#{path}?\xFC\xC3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".b
    server.exchange(octets) { |_, socket| read_all(socket) }
  end

  def read_all(socket)
    Timeout.timeout(Patience.for(10)) { socket.read }
  rescue Errno::ECONNRESET
    ""
  end
end
