# frozen_string_literal: true

require_relative "../helpers/server_case"

# No client takes more than its share: of threads, memory, descriptors or time.
class StarvationTest < ServerCase
  parallelize_me!

  HEAD = "Host: localhost\r\n"

  # Bodies of ten megabytes by every way there is, by path; `/` and all else is small.
  LARGE = <<~'RUBY'
    large = "l" * 10_000_000
    part = "l" * 100_000
    parts = Class.new { define_method(:each) { |&block| 100.times { block.call(part) } } }
    run lambda { |env|
      body = case env["PATH_INFO"]
             when "/array" then [large]
             when "/each" then parts.new
             when "/call" then ->(stream) { 100.times { stream.write(part) } && stream.close }
             when "/file" then File.open(ENV.fetch("LARGE_FILE"))
             else ["small"]
             end
      [200, { "content-type" => "text/plain" }, body]
    }
  RUBY

  def test_a_trickled_head_has_a_deadline
    spawn_server "-t", "1:1", config: "first_data_timeout 1\n"
    clients = Array.new(20) { server.connect }
    octets = "GET / HTTP/1.1\r\nX-Slow: #{"s" * 1000}".each_char
    began = now
    until clients.empty? || now - began > 5
      octet = octets.next
      clients.reject! { |client| gone?(client, octet) }
      assert_serving
      sleep 0.05
    end
    assert_empty clients, "still served after #{now - began} s"
    assert_operator now - began, :>, 0.8
  end

  def test_a_head_that_does_not_end_is_answered_408
    spawn_server "-t", "1:1", config: "first_data_timeout 1\n"
    ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n#{HEAD}"].each do |octets|
      server.exchange(octets) do |reader|
        response = reader.receive(timeout: 10)
        assert_equal 408, response.status, octets
        assert_match(/GMT\z/, response["Date"])
        assert_equal "close", response["Connection"]
        assert reader.closed?(timeout: 10)
      end
    end
    assert_log(/HTTP connection error: #<\S+: timed out waiting for the head of a request from 127.0.0.1>/)
    server.exchange("") { |reader| assert reader.closed?(timeout: 10), "nothing was asked" }
    assert_serving
  end

  def test_a_body_that_pauses_is_answered_408
    spawn_server "-t", "1:1", config: "first_data_timeout 1\n"
    server.exchange("POST / HTTP/1.1\r\n#{HEAD}Content-Length: 10\r\n\r\nhalf") do |reader|
      response = reader.receive(timeout: 5)
      assert_equal 408, response.status
      assert_equal "close", response["Connection"]
    end
    assert_log(/timed out waiting for the body of a request from 127.0.0.1/)
    assert_serving
  end

  def test_a_body_that_goes_on_is_waited_for
    spawn_server "-t", "1:1", config: "first_data_timeout 1\n"
    server.exchange("POST / HTTP/1.1\r\n#{HEAD}Content-Length: 6\r\n\r\n") do |reader, socket|
      "octets".each_char { |octet| sleep 0.3 and socket.write(octet) }
      assert_equal 200, reader.receive.status
    end
  end

  def test_an_idle_connection_is_closed
    spawn_server "-t", "1:1", config: "persistent_timeout 1\n"
    server.exchange("GET / HTTP/1.1\r\n#{HEAD}\r\n") do |reader|
      assert_equal 200, reader.receive.status
      refute reader.closed?(timeout: 0.5)
      assert reader.closed?(timeout: 5)
    end
  end

  def test_a_connection_has_so_many_requests
    spawn_server "-t", "1:1", config: "max_keep_alive 3\n"
    server.exchange("GET / HTTP/1.1\r\n#{HEAD}\r\n" * 5) do |reader|
      assert_equal([nil, nil, "close"], Array.new(3) { reader.receive["Connection"] })
      assert reader.closed?
    end
  end

  def test_a_body_beyond_the_limit_is_refused_before_it_comes
    spawn_server "-t", "1:1", config: "http_content_length_limit 100\n"
    ["Content-Length: 101\r\n", "Content-Length: 101\r\nExpect: 100-continue\r\n"].each do |fields|
      server.exchange("POST / HTTP/1.1\r\n#{HEAD}#{fields}\r\n") do |reader|
        response = reader.receive
        assert_equal [413, []], [response.status, response.informational]
        assert reader.closed?
      end
    end
    chunks = "#{"32\r\n#{"c" * 50}\r\n" * 3}0\r\n\r\n"
    server.exchange("POST / HTTP/1.1\r\n#{HEAD}Transfer-Encoding: chunked\r\n\r\n#{chunks}") do |reader|
      assert_equal 413, reader.receive.status
      assert reader.closed?
    end
    assert_equal 200, request("POST / HTTP/1.1\r\n#{HEAD}Content-Length: 100\r\n\r\n#{"b" * 100}").status
  end

  # Fewer threads than clients that do not read: nobody waits for them, and what they are owed takes no memory.
  def test_clients_that_do_not_read_hold_no_thread
    spawn_server "-t", "2:2", app: file("large.ru", LARGE), env: { "LARGE_FILE" => file("large", "l" * 10_000_000) }
    get("/array")
    memory = resident
    clients = %w[array each call file].flat_map do |path|
      Array.new(5) { server.connect.tap { |client| client.write("GET /#{path} HTTP/1.1\r\n#{HEAD}\r\n") } }
    end
    slowest = Array.new(30) { seconds { assert_equal "small", get("/").body } }.max
    assert_operator slowest, :<, 1
    # 20 times 10 MB are owed.
    assert_operator resident - memory, :<, 20_000, "kilobytes more"
    clients.each { |client| assert_equal "l" * 10_000_000, ResponseReader.new(client).receive(timeout: 20).body }
  ensure
    clients&.each(&:close)
  end

  # Streams of 40 MB and without an end: nothing but what is tested ends them, or makes place for others.
  STREAMS = <<~'RUBY'
    part = "s" * 100_000
    streams = { "/each" => 400, "/call" => 400, "/endless" => 1_000_000_000 }
    parts = Struct.new(:count) { define_method(:each) { |&block| count.times { block.call(part) } } }
    run lambda { |env|
      path = env["PATH_INFO"]
      body = parts.new(streams[path]) if streams[path]
      body = ->(stream) { streams[path].times { stream.write(part) } && stream.close } if path == "/call"
      [200, { "content-type" => "text/plain" }, body || ["small"]]
    }
  RUBY

  # More of them than threads, in every mode: who asks for a page gets it.
  def test_streams_that_are_not_read_leave_the_threads_to_others
    [[], %w[-w 2]].each do |mode|
      %w[each call endless].each do |path|
        spawn_server "-t", "2:2", *mode, app: file("streams.ru", STREAMS), config: "rserve { write_timeout 100 }\n"
        clients = Array.new(6) { server.connect.tap { |it| it.write("GET /#{path} HTTP/1.1\r\n#{HEAD}\r\n") } }
        clients.each { |client| assert client.wait_readable(Patience.for(20)), "no response begun" }
        10.times { assert_equal "small", get("/", timeout: 20).body, "#{mode} #{path}" }
      ensure
        clients&.each(&:close)
        server.signal(:KILL)
      end
    end
  end

  # With one thread, and a reader that takes its time: the stream goes on into its file, so that the next request has a
  # thread, and both come whole.
  def test_a_stream_that_is_read_slowly_comes_whole_though_others_want_its_thread
    spawn_server "-t", "1:1", app: file("streams.ru", STREAMS)
    server.exchange("GET /each HTTP/1.1\r\n#{HEAD}\r\n") do |reader, socket|
      assert socket.wait_readable(Patience.for(10))
      small = Thread.new { get("/", timeout: 20).body }
      begun = +""
      until small.join(0.05)
        # Less than a second goes by without a sign of life, and less is read than would let the stream end.
        begun << socket.readpartial(100_000)
      end
      assert_equal "small", small.value
      assert_operator begun.bytesize, :<, 20_000_000, "the page came when the stream was over"
      ended = -> { begun.end_with?("\r\n0\r\n\r\n") || !socket.wait_readable(Patience.for(10)) }
      begun << socket.read_nonblock(1 << 20) until ended.call
      assert_equal 40_000_000, ResponseReader.new(StringIO.new(begun)).receive.body.bytesize
      assert reader
    end
  end

  def test_what_clients_leave_unread_has_a_limit
    spawn_server "-t", "2:2", app: file("large.ru", LARGE), config: "rserve { unread_limit 40_000_000 }\n"
    get("/")
    clients = Array.new(20) { server.connect.tap { |it| it.write("GET /array HTTP/1.0\r\n\r\n") } }
    clients.each { |client| assert client.wait_readable(Patience.for(20)), "no response begun" }
    most = 0
    20.times do
      assert_equal "l" * 10_000_000, get("/array", timeout: 20).body, "who reads is not cut off"
      most = [most, unread].max
    end
    # One for each thread is spared, and one is just being made.
    assert_operator most, :<=, 40_000_000 + (2 * 10_000_000)
    assert_log(/clients that read too slowly were cut off .*: \d+/)
    whole = clients.count { |client| client.read.bytesize > 10_000_000 }
    assert_includes 2..15, whole, "were not cut off"
  ensure
    clients&.each(&:close)
  end

  def test_a_client_that_pipelines_takes_turns
    spawn_server "-t", "1:1", app: file("slow.ru", "run ->(env) { sleep 0.002; [200, {}, [env['PATH_INFO']]] }\n")
    server.exchange("GET /greedy HTTP/1.1\r\n#{HEAD}\r\n" * 1000) do |reader|
      reader.receive
      slowest = Array.new(10) { seconds { assert_equal "/modest", get("/modest").body } }.max
      assert_operator slowest, :<, 0.5
      999.times { assert_equal "/greedy", reader.receive.body }
    end
  end

  def test_a_client_that_closed_its_half_gets_its_answer
    spawn_server "-t", "1:1",
                 app: file("slow.ru", "run ->(env) { sleep 0.2; [200, {}, [env['rack.input']&.read.to_s]] }\n")
    body = "h" * 100_000
    ["GET / HTTP/1.1\r\n#{HEAD}\r\n", "POST / HTTP/1.1\r\n#{HEAD}Content-Length: #{body.size}\r\n\r\n#{body}",
     "GET / HTTP/1.0\r\n\r\n"].each do |octets|
      server.exchange(octets) do |reader, socket|
        socket.close_write
        assert_equal 200, reader.receive.status
        assert reader.closed?, "still open after its answer"
      end
    end
  end

  def test_clients_that_reset_leave_nothing_behind
    spawn_server "-t", "2:2", app: file("large.ru", LARGE)
    get("/")
    descriptors = open_descriptors
    ["", "GE", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\n#{HEAD}\r\n", "GET /each HTTP/1.1\r\n#{HEAD}\r\n",
     "POST / HTTP/1.1\r\n#{HEAD}Content-Length: 200000\r\n\r\nhalf", "nonsense\r\n\r\n"].each do |octets|
      50.times do
        socket = server.connect
        socket.setsockopt(Socket::Option.linger(true, 0))
        socket.write(octets)
        socket.close
      end
      assert_equal "small", get("/").body
    end
    assert_descriptors descriptors
  end

  def test_a_refused_client_does_not_hold_up_a_stop
    spawn_server "-t", "1:1"
    server.exchange("nonsense\r\n\r\n") do |reader, socket|
      assert_equal 400, reader.receive.status
      socket.write("x" * 2_000_000) # what it reads and drops for up to 30 s
      server.signal(:INT)
      assert_operator seconds { server.wait_exit(timeout: 30) }, :<, 15
    end
  end

  def test_no_descriptors_left
    spawn_limited(64)
    get("/")
    clients = Array.new(100) { server.connect }
    clients.each { |client| client.write("GET / HTTP/1.1\r\n#{HEAD}\r\n") }
    assert clients.first.wait_readable(Patience.for(5))
    served = clients.take_while { |client| client.wait_readable(0.01) }
    assert_operator served.size, :>, 20

    # Those that have a connection are served, the others cost no processor time.
    mark = server.mark
    busy = processor_seconds
    began = now
    reader = ResponseReader.new(served.first).tap(&:receive)
    while now - began < 2.5
      served.first.write("GET / HTTP/1.1\r\n#{HEAD}\r\n")
      assert_equal 200, reader.receive.status
      sleep 0.05
    end
    assert_operator processor_seconds - busy, :<, 0.25
    lines = server.log.byteslice(mark..).lines.grep(/cannot accept/)
    assert_operator lines.size, :<=, 4, lines.join

    # Idle connections make room, so that everyone gets an answer in the end.
    clients.drop(1).each { |client| assert client.wait_readable(Patience.for(10)), "never answered" }
    assert_log(/cannot accept connections/)
  ensure
    clients&.each(&:close)
    assert_serving if passed?
  end

  def test_no_temporary_folder
    temporary = Dir.mktmpdir
    spawn_server "-t", "1:1", app: file("large.ru", LARGE), env: { "TMPDIR" => temporary }
    get("/")
    descriptors = open_descriptors
    FileUtils.rm_rf(temporary)
    5.times do
      head = "POST / HTTP/1.1\r\n#{HEAD}Content-Length: 1000000\r\n\r\n"
      server.exchange(head) do |reader|
        response = reader.receive
        assert_includes [503, 507], response.status
        assert_equal "close", response["Connection"]
        assert reader.closed?
      end
    end
    server.exchange("GET /array HTTP/1.1\r\n#{HEAD}\r\n") { |_, socket| assert socket.wait_readable(Patience.for(5)) }
    assert_log(/a response was cut: .* cannot be stored in the temporary folder: No such file/)
    assert_equal "small", get("/").body
    assert_descriptors descriptors
  end

  # Its body and its stream say what they were told, and the next write is told the same.
  CUT = <<~'RUBY'
    part = "s" * 100_000
    told = lambda do |&write|
      100.times(&write)
    rescue => e
      again = begin write.call rescue $! end
      warn "told #{e.class}: #{e.message}", "again #{again.message}"
      raise
    end
    run lambda { |env|
      each = Enumerator.new { |out| told.call { out << part } }
      call = ->(stream) { told.call { stream.write(part) } }
      [200, {}, env["PATH_INFO"] == "/each" ? each : call]
    }
  RUBY

  def test_an_application_is_told_why_its_response_was_cut
    temporary = Dir.mktmpdir
    spawn_server "-t", "1:1", app: file("cut.ru", CUT), env: { "TMPDIR" => temporary }
    FileUtils.rm_rf(temporary)
    why = "the response was cut: what the client has not read yet cannot be stored in the temporary folder"
    %w[/each /call].each do |path|
      mark = server.mark
      server.exchange("GET #{path} HTTP/1.1\r\n#{HEAD}\r\n") do
        server.wait_for_log(/told Rserve::ConnectionError: #{why}\nagain #{why}\n/, after: mark)
      end
    end
  end

  def test_a_full_temporary_folder
    temporary = Dir.mktmpdir
    mounted = system("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", temporary, err: File::NULL)
    skip "no file system can be mounted here" unless mounted

    spawn_server "-t", "1:1", app: file("large.ru", LARGE), env: { "TMPDIR" => temporary }
    get("/")
    descriptors = open_descriptors
    body = "b" * 3_000_000
    3.times do
      server.exchange("") do |reader, socket|
        Thread.new { socket.write("POST / HTTP/1.1\r\n#{HEAD}Content-Length: #{body.size}\r\n\r\n#{body}") rescue nil } # rubocop:disable Style/RescueModifier
        response = reader.receive
        assert_includes [503, 507], response.status
      end
    end
    # Who reads only when everything is sent gets it, too.
    server.exchange("POST / HTTP/1.1\r\n#{HEAD}Content-Length: #{20 * body.size}\r\n\r\n") do |reader, socket|
      20.times { socket.write(body) }
      assert_equal 507, reader.receive.status
    end
    assert_log(%r{Request body \("POST /" - \(127.0.0.1\)\): #<IOError: cannot store the request body: No space left})
    refute_match(/malformed/, server.log)
    server.exchange("GET /array HTTP/1.1\r\n#{HEAD}\r\n") { |_, socket| assert socket.wait_readable(Patience.for(5)) }
    assert_equal "small", get("/").body
    assert_descriptors descriptors
    assert_equal 0, `df --output=used #{temporary}`.lines.last.to_i
  ensure
    server&.stop
    system("umount", temporary) if mounted
    FileUtils.rm_rf(temporary)
  end

  private

  def spawn_limited(descriptors)
    port = UniquePort.call
    command = [RbConfig.ruby, "-Ilib", TestServer.rserve, "-b", "tcp://127.0.0.1:#{port}", "-C", "-", "-t", "2:2",
               "test/rackup/hello.ru"]
    start_process(["sh", "-c", "ulimit -n #{descriptors}; exec \"$@\"", "sh", *command], port:)
  end

  # Whether the server has closed the connection; else sends one octet.
  def gone?(client, octet)
    return true if client.read_nonblock(1, exception: false).nil?

    client.write(octet)
    false
  rescue Errno::EPIPE, Errno::ECONNRESET
    true
  end

  def resident = File.read("/proc/#{server.pid}/status")[/VmRSS:\s+(\d+)/, 1].to_i
  def open_descriptors = Dir.children("/proc/#{server.pid}/fd").size

  # Octets in temporary files.
  def unread
    Dir.children("/proc/#{server.pid}/fd").sum do |number|
      file = File.stat("/proc/#{server.pid}/fd/#{number}")
      file.file? && file.nlink.zero? ? file.size : 0
    rescue Errno::ENOENT
      0
    end
  end

  def assert_descriptors(most)
    server.wait_until("it has #{most} descriptors again", 5) { open_descriptors <= most }
  end

  def processor_seconds
    File.read("/proc/#{server.pid}/stat").split(") ").last.split.values_at(11, 12).sum(&:to_i) / 100.0
  end

  def seconds
    began = now
    yield
    now - began
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
