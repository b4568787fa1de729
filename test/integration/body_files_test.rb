# frozen_string_literal: true

require_relative "../helpers/server_case"

# What becomes of the temporary files of large bodies. No garbage collector helps, and one thread serves: when it has
# the next request it is done with the one before.
class BodyFilesTest < ServerCase
  APP = <<~'RUBY'
    GC.disable
    GO = Queue.new
    run lambda { |env|
      input = env["rack.input"]
      case env["PATH_INFO"]
      when "/count"
        files = Dir["/proc/self/fd/*"].count { |fd| File.readlink(fd).end_with?("(deleted)") rescue false }
        [200, {}, [files.to_s]]
      when "/go"
        GO << true
        [200, {}, []]
      when "/later"
        [200, {}, ->(stream) { Thread.new { GO.pop; stream.write(input.read.bytesize.to_s); stream.close } }]
      when "/finished"
        env["rack.response_finished"] << ->(*) { warn "finished after #{input.read.bytesize}" }
        [200, {}, []]
      when "/raise" then raise "no"
      when "/child"
        ignored = IO.popen(%w[cat /proc/self/status], &:read)[/SigIgn:\s*(\h+)/, 1].hex
        [200, {}, [ignored[Signal.list["XFSZ"] - 1].zero? ? "DEFAULT" : "IGNORE"]]
      else [200, {}, [input.read.bytesize.to_s]]
      end
    }
  RUBY

  def setup
    super
    skip_unless :linux
  end

  def test_they_are_closed_after_the_request
    start
    assert_equal "200000", put("/").body
    put("/raise")
    put("/finished")
    assert_log(/finished after 200000/)
    assert_equal "0", get("/count").body
  end

  def test_a_stream_that_goes_on_without_the_thread_may_read_on
    start
    server.exchange(upload("/later")) do |reader|
      get("/go")
      assert_equal "200000", reader.receive.body
    end
  end

  # `ulimit -f`, `LimitFSIZE=`: what goes beyond is a signal that ends the process, unless somebody takes it.
  [[], %w[-w 1]].each do |arguments|
    define_method(:"test_one_that_exceeds_the_limit_of_a_file_#{arguments.any? ? "in_a_cluster" : "alone"}") do
      start(*arguments, config: "Process.setrlimit(:FSIZE, 150_000)\n")
      2.times { assert_equal 507, put("/").status }
      assert_equal 200, get("/go").status
      refute_log(/XFSZ/)
    end
  end

  def test_programs_that_the_application_starts_meet_the_limit_as_ever
    start
    assert_equal "DEFAULT", get("/child").body
  end

  private

  def start(*arguments, **options)
    spawn_server("-t", "1:1", *arguments, app: file("files.ru", APP), **options)
  end

  def put(path) = request(upload(path))

  def upload(path) = "PUT #{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n#{"x" * 200_000}"
end
