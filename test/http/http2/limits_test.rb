# frozen_string_literal: true

require_relative "http2_case"

# What a client of HTTP/2 can cost others: how often it may do what is of no use, and how little memory it holds.
class Http2LimitsTest < Http2Case
  parallelize_me!

  APP = <<~RUBY
    BEGUN = []
    LARGE = ["x" * 1_000_000].freeze
    run lambda { |env|
      case env["PATH_INFO"]
      when "/count"
        BEGUN << 1
        sleep 0.01
        [200, {}, ["x"]]
      when "/begun" then [200, {}, [BEGUN.size.to_s]]
      when "/large" then [200, {}, LARGE]
      when "/endless"
        [200, {}, Enumerator.new do |parts|
          loop { parts << "x" * 100_000 }
        ensure
          warn "nobody reads this"
        end]
      when "/length" then [200, {}, [env["CONTENT_LENGTH"]]]
      when "/memory" then [200, {}, [File.read("/proc/self/status")[/VmRSS:\\s*(\\d+)/, 1]]]
      else [200, {}, ["Hello"]]
      end
    }
  RUBY

  # name => [frames, by number; how many are taken at most]
  FLOODS = {
    "rapid reset (CVE-2023-44487)" => [lambda { |at|
                                         Http2Frames.headers((at * 2) + 1) + Http2Frames.rst_stream((at * 2) + 1)
                                       }, 2000],
    "malformed requests" => [->(at) { Http2Frames.headers((at * 2) + 1, []) }, 2000],
    "SETTINGS" => [->(_) { Http2Frames.settings }, 20_000],
    "PING" => [->(_) { Http2Frames.ping }, 20_000],
    "PRIORITY" => [->(_) { Http2Frames.frame(:priority, 0, 99, "\0\0\0\0\x10") }, 20_000],
    "WINDOW_UPDATE" => [->(_) { Http2Frames.window_update(0, 1) }, 20_000],
    "unknown frames" => [->(_) { Http2Frames.frame(0x99, 0, 0, "x") }, 20_000],
    "CONTINUATION (CVE-2024-27316)" => [lambda { |at|
      at.zero? ? Http2Frames.headers(1, [], Http2Frames::END_STREAM) : Http2Frames.frame(:continuation, 0, 1, "")
    }, 30]
  }.freeze

  FLOODS.each do |name, (frames, most)|
    define_method("test_a_flood_of_#{name}") do
      start APP
      client = open_client
      begin
        (0...most).each_slice(100) { |some| client.write(some.map(&frames).join) }
      rescue Errno::EPIPE, Errno::ECONNRESET
        nil # it is over
      end
      client.read_all
      # A reset may overtake it.
      assert_includes [:enhance_your_calm, nil], client.goaways.last&.reason
      assert_equal "Hello", open_client.request("/").body
      refute_log(/panic/)
    end
  end

  # An application does not see a request whose client has taken it back.
  def test_requests_that_are_taken_back_are_not_begun
    start APP, "-t", "1:1"
    client = open_client
    streams = (0...90).map { |at| (at * 2) + 1 }
    head = Http2Frames::GET.map { |name, value| [name, name == ":path" ? "/count" : value] }
    client.write((streams.map { |stream| Http2Frames.headers(stream, head) } +
                  streams.map { |stream| Http2Frames.rst_stream(stream) }).join)
    client.sync
    begun = open_client.request("/begun").body.to_i
    assert_operator begun, :<, 45
  end

  def test_a_stream_that_is_taken_back_ends_its_thread
    start APP, "-t", "1:1"
    client = open_client
    stream = client.begin_request("/endless")
    client.read_until(10) { client.answers[stream].body.bytesize > 60_000 }
    client.write(Http2Frames.rst_stream(stream))
    assert_log(/nobody reads this/)
    client.open_window(1000)
    assert_equal "Hello", client.request("/").body
  end

  def test_a_connection_that_ends_ends_its_threads
    start APP, "-t", "2:2"
    client = open_client
    2.times { client.begin_request("/endless") }
    client.read_until(10) { client.answers.values.sum { |answer| answer.body.bytesize } > 60_000 }
    client.close
    assert_equal "Hello", open_client.request("/").body
  end

  # By windows that stay closed, and by a socket that is not read from.
  def test_clients_that_do_not_read_hold_little_memory
    start APP
    before = open_client.request("/memory").body.to_i
    30.times do |at|
      closed = open_client(settings: { 4 => at.even? ? 0 : 0x7fff_ffff })
      closed.open_window(0x7fff_0000)
      5.times { closed.begin_request("/large") }
    end
    fresh = open_client
    10.times { assert_equal "Hello", fresh.request("/").body }
    # 150 responses of 1 MB; what exceeds 64 KiB of each is in files.
    assert_operator fresh.request("/memory").body.to_i - before, :<, 30_000
    assert_equal "Hello", get("/").body
  end

  def test_a_client_that_does_not_read_is_given_up
    start APP, config: "rserve { write_timeout 0.3 }\n"
    client = open_client(settings: { 4 => 10 })
    stream = client.begin_request("/large")
    client.await(stream)
    answer = client.answers[stream]
    assert_equal [10, :internal_error], [answer.body.bytesize, answer.reset]
    assert_equal "x", client.request("/count").body[0]
  end

  def test_a_body_that_does_not_come_is_given_up
    start APP, config: "first_data_timeout 1\n"
    client = open_client
    stream = client.begin_request("/", method: "POST", ended: false)
    assert_equal 408, client.await(stream).status
    assert_equal "Hello", client.request("/").body
  end

  def test_a_head_that_does_not_end_is_given_up
    start APP, config: "first_data_timeout 1\n"
    client = open_client
    client.sync # and so its own settings are acknowledged, before the head
    client.write(Http2Frames.headers(1, Http2Frames::GET, Http2Frames::END_STREAM))
    client.read_all
    assert_equal :no_error, client.goaways.last&.reason
  end

  # However long it takes: where the frames are cut when they arrive says nothing about a head.
  def test_a_body_that_comes_steadily_is_waited_for
    start APP, config: "first_data_timeout 3\n"
    client = open_client
    stream = client.begin_request("/length", method: "POST", ended: false)
    frame = Http2Frames.data(stream, "x" * 1000, 0)
    client.write(frame[0, 500])
    35.times do
      sleep 0.1
      client.write(frame[500..] + frame[0, 500])
    end
    client.write(frame[500..] + Http2Frames.data(stream, ""))
    assert_equal "36000", client.await(stream).body
  end

  def test_a_frame_that_does_not_end_is_given_up
    start APP, config: "first_data_timeout 1\n"
    client = open_client
    stream = client.begin_request("/length", method: "POST", ended: false)
    client.write(Http2Frames.data(stream, "x" * 1000, 0)[0, 500])
    client.read_all
    assert_equal :no_error, client.goaways.last&.reason
  end

  def test_a_connection_without_requests_ends_after_a_while
    start APP, config: "persistent_timeout 1\n"
    client = open_client
    client.request("/")
    client.read_all
    assert_equal :no_error, client.goaways.last.reason
  end

  def test_a_connection_of_a_few_requests
    start APP, config: "max_keep_alive 3\npuma_compat 7\n"
    client = open_client
    streams = Array.new(3) { client.begin_request("/") }
    streams.each { |stream| assert_equal "Hello", client.await(stream).body }
    client.read_all
    assert_equal [:no_error, 5], [client.goaways.last.reason, client.goaways.last.last_stream]
  end
end
