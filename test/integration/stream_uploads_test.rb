# frozen_string_literal: true

require "openssl"
require "zlib"
require_relative "../helpers/certificates"
require_relative "../helpers/fiber_case"
require_relative "../helpers/gc_stress"

# Bodies that the application reads while they come (`stream_uploads`).
class StreamUploadsTest < ServerCase
  # What the path says is done with the body.
  APP = <<~'RUBY'
    require "zlib"

    def crc(input)
      buffer, crc, size = String.new, 0, 0
      while input.read(65_536, buffer)
        crc = Zlib.crc32(buffer, crc)
        size += buffer.bytesize
      end
      "#{size} #{crc}"
    end

    # What comes is sent back at once.
    def echo(input)
      Enumerator.new do |parts|
        loop { parts << input.readpartial(1000) }
      rescue EOFError
        parts << "."
      end
    end

    def hijack(env, input)
      read = input.gets
      io = env["rack.hijack"].call
      io.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n#{read}#{io.readpartial(100)}")
      io.close
    end

    def rescued(input)
      input.read
    rescue Rserve::BodyError => e
      warn "rescued #{e.class}"
      e.class.to_s
    end

    def again(input)
      first = input.read
      input.rewind if input.respond_to?(:rewind)
      "#{first.bytesize} #{input.read.bytesize}"
    end

    run lambda { |env|
      input = env["rack.input"]
      warn "called #{env["PATH_INFO"]}"
      body =
        case env["PATH_INFO"].delete_prefix("/import").delete_prefix("/")
        when "rack" then Rack.release
        when "class" then input.class.to_s
        when "crc" then crc(input)
        when "lines" then input.each.to_a.inspect
        when "crlf" then [input.gets("\r\n"), input.gets(nil), input.gets, input.read(1), input.read, input.read(0)].inspect
        when "octets" then [input.getbyte, input.eof?, input.read(2), input.readpartial(1), input.read(9), input.eof?].inspect
        when "length" then env["CONTENT_LENGTH"].inspect
        when "exact" then input.read(Integer(env["CONTENT_LENGTH"]))
        when "one" then input.read(1)
        when "none" then "none"
        when "unseen" then Enumerator.new { |parts| parts << "unseen" }
        when "echo" then echo(input)
        when "hijack" then hijack(env, input)
        when "rescued" then rescued(input)
        when "again" then again(input)
        end
      [200, { "content-type" => "text/plain" }, body.is_a?(String) ? [body] : body || []]
    }
  RUBY

  def test_the_application_is_called_with_the_head_and_reads_what_comes
    start
    server.exchange(head("echo", "Content-Length: 6")) do |_, socket|
      assert_log(%r{called /import/echo})
      socket.write("abc")
      assert_match(/\r\n\r\n3\r\nabc\r\n\z/, read_until(socket, "abc\r\n"))
      socket.write("def")
      assert_equal "3\r\ndef\r\n1\r\n.\r\n0\r\n\r\n", read_until(socket, "0\r\n\r\n")
    end
  end

  def test_other_paths_and_requests_without_a_body_are_as_ever
    start
    assert_equal "StringIO", request(post("/class", "a")).body
    assert_equal "Rserve::NullIO", get("/import/class").body
    assert_match(/UploadInput/, request(post("/import/class", "a")).body)
  end

  # Path, body, and what is answered, with a length and in chunks.
  READINGS = [
    ["crc", "a" * 200_000, "200000 #{Zlib.crc32("a" * 200_000)}"],
    ["crc", "", "0 0"],
    ["lines", "a\n\nb\r\nc", ["a\n", "\n", "b\r\n", "c"].inspect],
    ["lines", "", "[]"],
    ["crlf", "a\nb\r\ncd\r\n", ["a\nb\r\n", "cd\r\n", nil, nil, "", ""].inspect],
    ["octets", "abcdef", [97, false, "bc", "d", "ef", true].inspect]
  ].freeze

  def test_reading
    start
    READINGS.each do |path, body, want|
      assert_equal want, request(post("/import/#{path}", body)).body, path
      [1, 7, 70_000].each do |size|
        next if body.bytesize / size > 1000

        assert_equal want, request(chunked("/import/#{path}", body, size)).body, "#{path} in chunks of #{size}"
      end
    end
    assert_equal "nil", request(chunked("/import/length", "abc", 2)).body
  end

  def test_rack_2_may_rewind
    start
    rewinds = get("/import/rack").body < "3"
    assert_equal "1000 #{rewinds ? 1000 : 0}", request(post("/import/again", "a" * 1000)).body
    # Too large to be kept.
    status = request(post("/import/again", "a" * 200_000)).status
    assert_equal rewinds ? 500 : 200, status
  end

  # Path, body, fields, and whether the connection is kept.
  KEPT = [
    ["crc", "abc", true], ["exact", "abc", true], ["one", "abc", true], ["none", "abc", true],
    ["none", "a" * 2000, true], ["unseen", "abc", false], ["none", "a" * 9_000_000, false]
  ].freeze

  # Of which the answers differ.
  LEVELS = [6, 7, 8].map { |level| "puma_compat #{level}" }.freeze

  # Whatever is read of a body, nothing of it is taken for a request, and the response arrives.
  def test_what_follows_a_body
    LEVELS.each do |level|
      start level
      %i[post chunked].product(KEPT) do |framing, (path, body, kept)|
        assert_followed(framing, path, body, kept) unless framing == :chunked && path == "exact"
      end
      refute_log(/smuggled/)
    end
  end

  def test_a_client_that_waits_to_be_asked_is_asked_by_the_first_read
    start
    server.exchange(head("crc", "Content-Length: 3", "Expect: 100-continue")) do |reader, socket|
      assert_equal "HTTP/1.1 100 Continue\r\n\r\n", read_until(socket, "\r\n\r\n")
      socket.write("abc")
      assert_equal "3 #{Zlib.crc32("abc")}", reader.receive.body
    end
    %w[none unseen].each do |path|
      server.exchange(head(path, "Content-Length: 3", "Expect: 100-continue")) do |reader|
        response = reader.receive
        assert_equal [[], "close"], [response.informational, response["Connection"]]
        assert reader.closed?
      end
    end
    # It has begun to answer.
    server.exchange(head("echo", "Content-Length: 3", "Expect: 100-continue")) do |reader, socket|
      assert_log(%r{called /import/echo})
      socket.write("abc")
      response = reader.receive
      assert_equal [[], "abc."], [response.informational, response.body]
    end
  end

  # Octets of a body that is no good, the status, and what reading raises.
  FAULTS = [
    [["Transfer-Encoding: chunked"], "2\r\nabc", 400, "BodyError"],
    [["Transfer-Encoding: chunked"], "2\r\nab\r\nx\r\n", 400, "BodyError"],
    [["Transfer-Encoding: chunked"], "5\r\nabcde\r\n6\r\nfghijk\r\n", 413, "BodyTooLarge"]
  ].freeze

  def test_bodies_that_are_refused_while_they_are_read
    LEVELS.each do |level|
      start "#{level}\nhttp_content_length_limit 10\nlowlevel_error_handler { [500, {}, []] }"
      FAULTS.each { |fault| assert_refused(*fault) }
      mark = server.mark
      assert_equal 413, request(post("/import/crc", "a" * 11)).status
      refute_match(/called/, server.log.byteslice(mark..))
    end
  end

  def test_a_client_that_goes
    start "lowlevel_error_handler { |e| warn \"handled \#{e.class}\"; [500, {}, []] }"
    %w[rescued crc].each do |path|
      server.exchange("#{head(path, "Content-Length: 6")}abc") { assert_log(%r{called /import/#{path}}) }
    end
    assert_log(/rescued Rserve::BodyAborted/)
    assert_equal "none", request(post("/import/none", "a")).body
    refute_log(/handled|Error/)
  end

  def test_a_client_that_is_too_slow
    start "first_data_timeout 1\nlowlevel_error_handler { |e| warn \"handled \#{e.class}\"; [500, {}, []] }"
    server.exchange("#{head("crc", "Content-Length: 6")}abc") do |reader|
      assert_equal 408, reader.receive(timeout: 20).status
      assert reader.closed?
    end
    assert_equal "Rserve::BodyTimeout", request("#{head("rescued", "Content-Length: 6")}abc", timeout: 20).body
    assert_log(/timed out waiting for the body of a request/)
    refute_log(/handled/)
  end

  def test_hijacking_gives_what_was_not_read
    start
    message = "#{head("hijack", "Content-Length: 8")}ab\ncd\nef"
    assert_equal "ab\ncd\nef", server.exchange(message) { |reader| reader.receive.body }
  end

  def test_other_sockets
    start(unix: true)
    assert_equal "3 #{Zlib.crc32("abc")}", request(chunked("/import/crc", "abc", 1)).body
    certificate, key = Certificates.new(folder).issue("server")
    bind = "ssl://127.0.0.1:#{port = UniquePort.call}?cert=#{certificate}&key=#{key}"
    start("bind '#{bind}'", listen: false)
    body = "tls" * 100_000
    socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).connect
    socket.write(post("/import/crc", body) + chunked("/import/crc", body, 40_000))
    reader = ResponseReader.new(socket)
    2.times { assert_equal "300000 #{Zlib.crc32(body)}", reader.receive.body }
  end

  GIGABYTE = 1 << 30
  # Of resident memory, while it goes through.
  MORE = 4 << 10

  def test_a_gigabyte_costs_no_memory
    start
    piece = Random.bytes(1 << 20)
    2.times { request(post("/import/crc", piece * 4)) }
    File.write("/proc/#{server.pid}/clear_refs", "5")
    before = memory("VmRSS")
    crc = 0
    body = server.exchange(head("crc", "Content-Length: #{GIGABYTE}")) do |reader, socket|
      (GIGABYTE / piece.bytesize).times { socket.write(piece) && crc = Zlib.crc32(piece, crc) }
      reader.receive(timeout: 60).body
    end
    assert_equal "#{GIGABYTE} #{crc}", body
    assert_operator memory("VmHWM") - before, :<=, MORE
  end

  def test_under_stress_of_the_collector
    start(before: "GC.auto_compact = true\n#{GcStress::AROUND_THE_APPLICATION}")
    READINGS.drop(1).each { |path, body, want| assert_equal want, request(chunked("/import/#{path}", body, 3)).body }
    assert_equal 400, request("#{head("crc", "Transfer-Encoding: chunked")}x\r\n").status
  end

  private

  # What serves them.
  def words = 'stream_uploads "/import/*"'

  def start(config = "", before: "", **options)
    config = "#{config}\nrserve { #{words} }\n"
    spawn_server("-t", "2:2", config:, app: file("uploads.ru", before + APP), **options)
  end

  def assert_followed(framing, path, body, kept)
    body = "#{body}\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n" unless path == "exact"
    server.exchange(send(framing, "/import/#{path}", body) + post("/import/class", "next")) do |reader|
      response = reader.receive(timeout: 20)
      assert_equal [200, kept ? nil : "close"], [response.status, response["Connection"]], "#{framing} #{path}"
      kept ? assert_match(/UploadInput/, reader.receive.body) : assert(reader.closed?, "#{framing} #{path}")
    end
  end

  def assert_refused(fields, octets, status, name)
    server.exchange(head("crc", *fields) + octets) do |reader|
      response = reader.receive
      assert_equal [status == 400 ? 500 : status, "close"], [response.status, response["Connection"]]
      assert reader.closed?
    end
    assert_equal "Rserve::#{name}", request(head("rescued", *fields) + octets).body
  end

  def memory(name) = File.read("/proc/#{server.pid}/status")[/^#{name}:\s+(\d+)/, 1].to_i

  def head(path, *fields) = "POST /import/#{path} HTTP/1.1\r\nHost: h\r\n#{fields.join("\r\n")}\r\n\r\n".b
  def post(path, body) = "POST #{path} HTTP/1.1\r\nHost: h\r\nContent-Length: #{body.bytesize}\r\n\r\n".b + body.b

  def chunked(path, body, size = 1000)
    chunks = body.b.scan(/.{1,#{size}}/mn).map { |piece| "#{piece.bytesize.to_s(16)};x=y\r\n#{piece}\r\n" }
    "POST #{path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n#{chunks.join}0\r\nA: b\r\n\r\n".b
  end

  def read_until(socket, ending)
    read = +""
    read << socket.readpartial(4096) until read.end_with?(ending)
    read
  end
end

# The same bodies, read by fibers: it is those that wait.
class StreamUploadsInFibersTest < StreamUploadsTest
  def setup
    super
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    skip "not here: async 2" unless FiberCase.async?
  end

  def test_many_wait_for_their_clients
    start
    sockets = Array.new(100) { server.connect.tap { |it| it.write(head("crc", "Content-Length: 6"), "abc") } }
    server.wait_until("all are read", 20) { server.log.scan("called /import/crc").size == 100 }
    assert_equal "StringIO", request(post("/class", "a")).body
    sockets.each { |socket| socket.write("def") }
    want = "6 #{Zlib.crc32("abcdef")}"
    assert_equal([want], sockets.map { |socket| ResponseReader.new(socket).receive(timeout: 20).body }.uniq)
  ensure
    sockets&.each(&:close)
  end

  # One that comes as fast as it is read lets the others go on.
  def test_a_fast_one_beside_others
    start
    server.exchange(head("crc", "Content-Length: #{GIGABYTE}")) do |reader, socket|
      piece = "a" * (1 << 20)
      sender = Thread.new { (GIGABYTE >> 20).times { socket.write(piece) } }
      10.times { assert_equal "1 #{Zlib.crc32("a")}", request(post("/import/crc", "a")).body }
      assert sender.alive?, "they were served meanwhile"
      assert_equal 200, reader.receive(timeout: 60).status
    end
  end

  private

  def words = "#{super}; fiber_routes '/import/*'"
end
