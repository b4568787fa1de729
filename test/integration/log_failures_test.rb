# frozen_string_literal: true

require "pty"
require_relative "../helpers/server_case"

# What a server does does not depend on whether it can log: how the log fails × what happens.
class LogFailuresTest < ServerCase
  parallelize_me!

  APP = <<~'RUBY'
    booted = rand
    run(lambda do |env|
      raise "ünïcode" if env["PATH_INFO"] == "/raise"
      [200, {}, ["#{Process.pid} #{booted}"]]
    end)
  RUBY

  # A stream to log to, and what makes it fail once the server is up.
  LOGS = {
    "terminal_gone" => -> { PTY.open.then { |controller, terminal| [terminal, -> { controller.close }] } },
    "reader_gone" => -> { IO.pipe.then { |reader, writer| [writer, -> { reader.close }] } },
    "disk_full" => -> { [File.open("/dev/full", "w"), -> {}] },
    "nobody_reads" => lambda do
      reader, writer = IO.pipe
      nil while writer.write_nonblock("x" * 4096, exception: false).is_a?(Integer)
      [writer, -> { reader.closed? }] # which keeps it open
    end
  }.freeze

  MODES = { "single" => [], "cluster" => %w[-w 2], "preloaded" => %w[-w 2 --preload], "mold" => %w[-w 2 --fork-worker] }
          .freeze

  # What ends it, and the status that it ends with.
  ENDS = { "TERM" => :TERM, "INT" => 0, "HUP" => 0 }.freeze

  LOGS.each_key do |how|
    MODES.each do |mode, arguments|
      define_method(:"test_#{mode}_goes_on_when_its_log_fails_#{how}") do
        start(how, *arguments)
        assert_equal 500, request("GET /raise HTTP/1.1\r\nHost: x\r\n\r\n").status
        mode == "single" ? assert_restarts(:USR1) : survive_what_happens_to_clusters(mode)
        assert_restarts(:USR2)
        server.signal(:TERM)
        assert_ends :TERM
      end
    end

    MODES.slice("single", "cluster").each do |mode, arguments|
      ENDS.each do |signal, status|
        define_method(:"test_#{mode}_ends_by_#{signal}_when_its_log_fails_#{how}") do
          start(how, *arguments)
          server.signal(signal)
          assert_ends status
        end
      end

      define_method(:"test_#{mode}_ends_by_two_TERMs_when_its_log_fails_#{how}") do
        start(how, *arguments)
        server.signal(:TERM)
        server.signal(:TERM)
        assert_ends :TERM
      end
    end

    define_method(:"test_no_worker_outlives_its_master_when_its_log_fails_#{how}") do
      start(how, "-w", "2")
      server.signal(:KILL)
      assert_ends :KILL
    end
  end

  # What the application printed is in Ruby's own buffer, which each fork wants to be empty.
  def test_output_of_the_application_that_nobody_takes_keeps_no_worker_from_being_forked
    LOGS.each_key do |how|
      start(how, "-w", "2", config: <<~RUBY)
        mutate_stdout_and_stderr_to_sync_on_write false
        before_worker_fork { print "forking" }
      RUBY
      assert_replaced(how) { |pids| Process.kill(:KILL, pids.first) }
      server.signal(:INT)
      assert_ends 0
    end
  end

  # Who asks for the access log does not ask to be stopped by it.
  def test_access_log_that_nobody_reads_holds_nobody_up
    start("nobody_reads", "-v")
    50.times { answer }
    server.signal(:TERM)
    assert_ends :TERM
  end

  def test_the_lines_that_were_lost_are_counted_when_somebody_reads_again
    reader, writer = IO.pipe
    nil while writer.write_nonblock("x" * 4096, exception: false).is_a?(Integer)
    log_to(writer)
    reader.read_nonblock(1 << 20)
    server.signal(:INT)
    assert_ends 0
    # It may have been read again before the last line of the start.
    assert_match(/\A! \d+ lines? of this log (is|are) missing: nobody took (it|them)\n(Use Ctrl-C.*\n)?- Gracefully/,
                 reader.read_nonblock(1 << 20))
  end

  # What is redirected goes to files; one that cannot be opened any more is not worth the server.
  def test_log_files_that_cannot_be_opened_anew_are_told_and_the_old_ones_stay
    MODES.slice("single", "cluster").each_value do |arguments|
      logs = folder
      out = File.join(logs, "out.log")
      spawn_server(*arguments, app: file("config.ru", APP), config: "stdout_redirect #{out.dump}, #{out.dump}, true",
                               wait: false)
      server.wait_until("it serves, and has its log", 20) { answer && File.exist?(out) }
      File.rename(logs, moved = "#{logs}.moved")
      @folders << moved
      server.signal(:HUP)
      server.wait_until("it says so", 10) do
        File.read(File.join(moved, "out.log")).include?("! Cannot redirect STDOUT to #{out}: No such file")
      end
      refute_nil answer
      server.signal(:TERM)
      assert_ends :TERM
    end
  end

  private

  def start(how, *arguments, config: nil)
    stream, fail = LOGS.fetch(how).call
    log_to(stream, *arguments, config:)
    fail.call
  end

  def log_to(stream, *arguments, config: nil)
    arguments += ["-C", config ? file("config.rb", config) : "-"]
    port = UniquePort.call
    start_process([RbConfig.ruby, "-Ilib", TestServer.rserve, "-b", "tcp://127.0.0.1:#{port}", *arguments,
                   file("config.ru", APP)], port:, wait: false, out: stream)
    stream.close
    server.wait_until("it serves", 30) { answer }
    server.wait_until("all workers serve", 30) { workers.size == 2 } if arguments.include?("-w")
  end

  # @return [Array(Integer, String), nil] who answered, and when that one's application was loaded
  def answer
    get("/").body.split.then { |pid, booted| [Integer(pid), booted] }
  rescue SystemCallError, EOFError
    nil
  end

  # The pids of those that answer, in a row of requests that is long enough.
  def workers = Array.new(20) { answer&.first }.compact.uniq.sort

  def survive_what_happens_to_clusters(mode)
    assert_replaced("KILL of a worker") { |pids| Process.kill(:KILL, mode == "mold" ? pids.max : pids.first) }
    return assert_restarts(:USR1) if mode == "preloaded"

    assert_replaced("USR1", all: true) { server.signal(:USR1) }
    assert_replaced("URG") { server.signal(:URG) } if mode == "mold"
  end

  def assert_replaced(why, all: false)
    before = workers
    yield before
    server.wait_until("the workers are other ones after #{why}", 30) do
      now = workers
      now.size == 2 && (all ? (now & before).empty? : now != before)
    end
  end

  # The process stays, the application is another one.
  def assert_restarts(signal)
    before = answer.last
    server.signal(signal)
    server.wait_until("all that answer have loaded the application anew after #{signal}", 30) do
      loaded = Array.new(20) { answer&.last }
      loaded.all? && !loaded.include?(before)
    end
    refute server.exited?, "the process stays"
  end

  def assert_ends(status)
    assert_exits status
    server.wait_until("nobody holds the port any more", 20) do
      server.connect.close
      false
    rescue Errno::ECONNREFUSED
      true
    end
  end
end
