# frozen_string_literal: true

require_relative "../helper"
require "rserve/log/common_logger"
require "rserve/process/events"
require "rserve/log/log_writer"
require "rserve/process/signals"

class LogTest < TimedTestCase
  Request = Struct.new(:env)

  def test_lines_go_through_the_formatter
    { Rserve::LogWriter::DefaultFormatter.new => "x\n", Rserve::LogWriter::PidFormatter.new => "[#{Process.pid}] x\n",
      ->(line) { "-#{line}-" } => "-x-\n" }.each do |formatter, wanted|
      log = Rserve::LogWriter.strings
      log.formatter = formatter
      log.log "x"
      assert_equal wanted, log.stdout.string
    end
  end

  def test_custom_logger_takes_every_line
    lines = []
    log = Rserve::LogWriter.strings
    log.custom_logger = Class.new { define_method(:write) { |line| lines << line } }.new
    log.log "x"

    assert_equal [["x"], ""], [lines, log.stdout.string]
  end

  def test_error_names_itself_and_ends_the_process
    log = Rserve::LogWriter.strings
    assert_equal 1, assert_raises(SystemExit) { log.error "no luck" }.status
    assert_match(/\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} ERROR: no luck\n\z/, log.stderr.string)
  end

  def test_failed_request_is_named_in_one_line
    env = { "REQUEST_METHOD" => "GET", "PATH_INFO" => "/x", "QUERY_STRING" => "a=1", "REMOTE_ADDR" => "::1" }
    log = Rserve::LogWriter.strings
    log.parse_error(ArgumentError.new("bad"), Request.new(env))
    log.unknown_error(ArgumentError.new("bad"))

    after_the_time = log.stderr.string.lines.map { |line| line.chomp.split(" ", 4).last }
    assert_equal ['HTTP parse error, malformed request ("GET /x?a=1" - (::1)): #<ArgumentError: bad>',
                  "Unknown error: #<ArgumentError: bad>"], after_the_time
  end

  def test_debug_lines_only_with_puma_debug
    calls = []
    { {} => "", { "PUMA_DEBUG" => "1" } => "% x\n% y\n" }.each do |env, wanted|
      log = Rserve::LogWriter.strings(env:)
      log.debug "x"
      log.debug { calls.push("y").last }
      assert_equal wanted, log.stdout.string
    end
    assert_equal %w[y], calls, "the text is not made where nobody reads it"
  end

  def test_log_can_be_written_in_a_trap
    log = Rserve::LogWriter.strings
    previous = trap("WINCH") { log.log "trapped" }
    Process.kill(:WINCH, Process.pid)
    Thread.pass until log.stdout.string.end_with?("\n")

    assert_equal "trapped\n", log.stdout.string
  ensure
    trap("WINCH", previous || "DEFAULT")
  end

  def test_reader_that_went_away_does_no_harm
    reader, writer = IO.pipe
    reader.close
    Rserve::LogWriter.new(writer, writer).log("x")
  end

  def test_access_log_waits_for_the_last_octet
    out = StringIO.new
    app = Rserve::CommonLogger.new(->(_) { [200, { "Content-Length" => "5" }, ["hello"]] }, out)
    env = { "REQUEST_METHOD" => "GET", "PATH_INFO" => "/x", "QUERY_STRING" => "a=1", "HTTP_VERSION" => "HTTP/1.1",
            "REMOTE_ADDR" => "1.2.3.4", "rack.after_reply" => [] }
    app.call(env)
    assert_empty out.string
    env["rack.after_reply"].each(&:call)

    assert_match(%r{\A1\.2\.3\.4 - - \[.+\] "GET /x\?a=1 HTTP/1\.1" 200 5 0\.\d{4}\n\z}, out.string)
  end

  def test_events_have_both_names
    heard = []
    events = Rserve::Events.new
    events.on_booted { heard << :old }
    events.after_booted { heard << :new }
    events.fire_on_booted!

    assert_equal %i[old new], heard
  end

  def test_signals_are_handled_in_order_on_an_ordinary_thread_and_given_back
    handled = Thread::Queue.new
    before = trap("WINCH", "DEFAULT")
    signals = Rserve::Signals.new(Rserve::LogWriter.strings)
    lock = Mutex.new
    signals.on("WINCH") { lock.synchronize { handled << Thread.current.name } }
    2.times do
      Process.kill(:WINCH, Process.pid)
      assert_equal "puma signals", handled.pop
    end
    signals.close

    refute_kind_of Proc, trap("WINCH", before || "DEFAULT")
  end
end
