# frozen_string_literal: true

require "zlib"
require "open3"
require_relative "../helpers/gc_stress"
require_relative "../helpers/http2_client"
require_relative "../helpers/server_case"

# `compress`: responses in a coding that the client takes.
class CompressionTest < ServerCase
  parallelize_me!

  TEXT = Array.new(2000) { |n| "line #{n} of #{n * 7919 % 1009}\n" }.join

  # What is answered hangs on the path; fields of the request that begin with X-App- are the response's.
  APP = <<~RUBY
    TEXT = Array.new(2000) { |n| "line \#{n} of \#{n * 7919 % 1009}\\n" }.join
    parts = ->(n) { Enumerator.new { |out| n.times { |at| out << "part \#{at}\\n" } } }
    gate = ENV["GATE"]
    waiting = Enumerator.new { |out| out << "first\\n"; sleep 0.01 until File.exist?(gate); out << "last\\n" }
    breaking = Enumerator.new { |out| out << "first\\n"; raise "broken" }
    stream = ->(out) { 3.times { |at| out.write("part \#{at}\\n") }; out.close }
    bodies = { "/" => -> { [TEXT] }, "/small" => -> { ["x" * 1023] }, "/lines" => -> { TEXT.lines },
               "/each" => -> { parts.call(200) }, "/call" => -> { stream }, "/waits" => -> { waiting },
               "/breaks" => -> { breaking }, "/huge" => -> { [TEXT * 50] }, "/long-part" => -> { [TEXT * 20].each },
               "/none" => -> { [] }, "/nothing" => -> {} }
    run lambda { |env|
      fields = { "Content-Type" => "text/html; charset=utf-8" }
      env.each { |name, value| fields[name[11..].tr("_", "-")] = value if name.start_with?("HTTP_X_APP_") }
      status = Integer(fields.delete("STATUS") || 200)
      [status, fields, status == 204 ? [] : bodies.fetch(env["PATH_INFO"]).call]
    }
  RUBY

  def test_every_coding_in_every_mode
    [[], %w[-w 2], %w[--compat 8]].each do |arguments|
      start(*arguments)
      { "gzip" => "gzip", "br" => "br", "zstd" => "zstd", "gzip, deflate, br, zstd" => "zstd", "gzip, br" => "br",
        "gzip;q=1, br;q=0.5" => "gzip" }.each do |accepted, coding|
        ["/", "/lines"].each do |path|
          response = ask(path, accepted)
          assert_equal [200, coding, "Accept-Encoding"],
                       [response.status, response["Content-Encoding"], response["Vary"]]
          assert_equal response.body.bytesize, Integer(response["Content-Length"])
          assert_operator response.body.bytesize, :<, TEXT.bytesize / 2
          assert_decoded TEXT, response
        end
      end
      server.stop
    end
  end

  # [path, Accept-Encoding, fields, coded, Vary]
  TABLE = [
    ["/", "", {}, nil, "Accept-Encoding"],
    ["/", "identity", {}, nil, "Accept-Encoding"],
    ["/", "deflate", {}, nil, "Accept-Encoding"],
    ["/small", "gzip", {}, nil, nil],
    ["/", "gzip", { "Content-Type" => "image/png" }, nil, nil],
    ["/", "gzip", { "Content-Type" => "application/json" }, "gzip", "Accept-Encoding"],
    ["/", "gzip", { "Content-Type" => "text/event-stream" }, nil, nil],
    ["/", "gzip", { "Content-Encoding" => "x" }, "x", nil],
    ["/", "gzip", { "Cache-Control" => "no-transform" }, nil, nil],
    ["/", "gzip", { "Content-Range" => "bytes 0-1/2" }, nil, nil],
    ["/", "gzip", { "Vary" => "Cookie" }, "gzip", "Cookie"],
    ["/", "gzip", { "Status" => "206" }, nil, nil],
    ["/", "gzip", { "Status" => "204" }, nil, nil],
    ["/", "gzip", { "Status" => "404" }, "gzip", "Accept-Encoding"]
  ].freeze

  def test_what_is_coded_and_what_is_not
    start
    TABLE.each do |path, accepted, fields, coding, vary|
      response = ask(path, accepted, fields)
      assert_equal [coding, vary], [response["Content-Encoding"], response["Vary"]], "#{path} #{accepted} #{fields}"
      text = { "/" => TEXT, "/small" => "x" * 1023 }.fetch(path)
      assert_decoded(fields["Status"] == "204" ? "" : text, response) unless coding == "x"
    end
    strong = ask("/", "gzip", { "ETag" => '"x"', "Accept-Ranges" => "bytes" })
    assert_equal ['W/"x"', nil], [strong["ETag"], strong["Accept-Ranges"]]
    assert_equal '"x"', ask("/", "", { "ETag" => '"x"' })["ETag"]
  end

  # Fields of a HEAD and of a 304 are those of the GET, as far as they are known, and none says what is not so.
  # [method, path, Accept-Encoding, fields, Content-Encoding, Vary, ETag, Content-Length]
  WITHOUT_CONTENT = [
    ["HEAD", "/", "gzip", {}, "gzip", "Accept-Encoding", 'W/"x"', nil],
    ["HEAD", "/lines", "gzip", {}, "gzip", "Accept-Encoding", 'W/"x"', nil],
    ["HEAD", "/each", "gzip", {}, "gzip", "Accept-Encoding", 'W/"x"', nil],
    ["HEAD", "/call", "gzip", {}, "gzip", "Accept-Encoding", 'W/"x"', nil],
    ["HEAD", "/none", "gzip", {}, nil, "Accept-Encoding", 'W/"x"', nil],
    ["HEAD", "/none", "gzip", { "Content-Length" => "5000" }, nil, "Accept-Encoding", 'W/"x"', nil],
    ["HEAD", "/none", "gzip", { "Content-Length" => "500" }, nil, nil, '"x"', "500"],
    ["HEAD", "/none", "gzip", { "Content-Length" => "5000", "Content-Type" => "image/png" }, nil, nil, '"x"', "5000"],
    ["HEAD", "/small", "gzip", {}, nil, nil, '"x"', "1023"],
    ["HEAD", "/", "", {}, nil, "Accept-Encoding", '"x"', TEXT.bytesize.to_s],
    ["HEAD", "/none", "gzip", { "Status" => "204" }, nil, nil, '"x"', nil],
    ["GET", "/none", "gzip", { "Status" => "304" }, nil, "Accept-Encoding", 'W/"x"', nil],
    ["GET", "/none", "gzip", { "Status" => "304", "Content-Length" => "5000" }, nil, "Accept-Encoding", 'W/"x"', nil],
    ["GET", "/none", "gzip", { "Status" => "304", "Content-Type" => "image/png" }, nil, nil, '"x"', nil],
    ["GET", "/nothing", "gzip", { "Status" => "304" }, nil, "Accept-Encoding", 'W/"x"', nil],
    ["GET", "/none", "", { "Status" => "304" }, nil, "Accept-Encoding", '"x"', nil]
  ].freeze

  def test_what_is_said_of_a_content_that_is_not_sent
    start(words: "compress; http2")
    WITHOUT_CONTENT.each do |method, path, accepted, fields, *want|
      said = said_without_content(method, path, accepted, fields.merge("ETag" => '"x"'), "If-None-Match" => 'W/"x"')
      assert_equal want, said, "#{method} #{path} #{accepted} #{fields}"
    end
    unmodified = { "ETag" => '"x"', "Status" => "304" }
    assert_equal [nil, "Accept-Encoding", '"x"', nil],
                 said_without_content("GET", "/none", "gzip", unmodified, { "If-None-Match" => '"y", "x"' })
  end

  # Lines before it become longer, shorter or go.
  def test_connection_of_the_application_stands_on_a_line_of_its_own
    start
    before = [{ "ETag" => '"x"' }, { "Accept-Ranges" => "bytes" }, { "Content-Encoding" => "identity" }, {}]
    before.product(%w[/ /each]).each do |fields, path|
      response = ask(path, "gzip", fields.merge("Connection" => "x-option", "X-Last" => "last of them"))
      assert_equal ["x-option", "last of them", "gzip"],
                   [response["Connection"], response["X-Last"], response["Content-Encoding"]], fields
    end
  end

  def test_streams_part_by_part
    gate = File.join(folder, "gate")
    start(env: { "GATE" => gate })
    %w[gzip br zstd].each do |coding|
      response = ask("/each", coding)
      assert_equal [coding, "chunked", nil],
                   [response["Content-Encoding"], response["Transfer-Encoding"], response["Content-Length"]]
      assert_decoded Array.new(200) { |at| "part #{at}\n" }.join, response
      assert_decoded "part 0\npart 1\npart 2\n", ask("/call", coding)
      assert_decoded TEXT * 20, ask("/long-part", coding)
    end
    server.exchange("GET /waits HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n") do |_, socket|
      socket.gets("\r\n\r\n")
      gunzip = Zlib::Inflate.new(31)
      text = +""
      text << gunzip.inflate(read_chunk(socket)) until text == "first\n"
      File.write(gate, "")
      text << gunzip.inflate(read_chunk(socket)) until gunzip.finished?
      assert_equal "first\nlast\n", text
    end
  end

  def test_versions_and_connections
    start
    old = request("GET / HTTP/1.0\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n")
    assert_equal old.body.bytesize.to_s, old["Content-Length"]
    assert_decoded TEXT, old
    server.exchange("GET /each HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n") do |reader|
      assert_decoded Array.new(200) { |at| "part #{at}\n" }.join, reader.receive
    end
    octets = { "/" => "br", "/each" => "gzip" }.map do |path, coding|
      "GET #{path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: #{coding}\r\n\r\n"
    end.join
    server.exchange(octets * 3) do |reader|
      3.times do
        assert_decoded TEXT, reader.receive
        assert_match(/\Apart 0\n.*part 199\n\z/m, gunzip(reader.receive.body))
      end
    end
  end

  def test_a_body_that_breaks_is_seen_to_be_broken
    start
    server.exchange("GET /breaks HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n") do |reader|
      assert_raises(EOFError) { reader.receive }
    end
    assert_log(/broken/)
  end

  # By repeating a guess in a page one learns by its length whether something else in it is the same.
  def test_lengths_hang_on_the_content_and_not_on_chance
    start
    %w[gzip br zstd].each do |coding|
      once, again = Array.new(2) { ask("/", coding).body.bytesize }
      assert_equal once, again
    end
    first = ask("/", "gzip").body.bytesize
    server.stop
    lengths = Array.new(4) do
      start
      ask("/", "gzip").body.bytesize.tap { server.stop }
    end
    refute_equal [first], lengths.uniq, "the server's key is no other than the last one's"
  end

  def test_large_responses_by_several_threads_at_once
    start("-t", "4:4")
    threads = Array.new(8) do |at|
      Thread.new { Array.new(3) { ask("/huge", %w[gzip br zstd][at % 3], timeout: 60) } }
    end
    threads.flat_map(&:value).each { |response| assert_decoded TEXT * 50, response }
  end

  def test_under_the_stress_of_the_garbage_collector
    start("-t", "1:1", app: GcStress::AFTER_THE_APPLICATION + APP)
    %w[gzip br zstd].each do |coding|
      assert_decoded TEXT, ask("/", coding, timeout: 60)
      assert_decoded "part 0\npart 1\npart 2\n", ask("/call", coding, timeout: 60)
    end
  end

  def test_levels_and_an_order_of_the_operators
    start(words: "compress %i[gzip br], min: 100, level: { br: 11 }")
    assert_equal "gzip", ask("/small", "br, gzip")["Content-Encoding"]
    assert_decoded "x" * 1023, ask("/small", "br")
    assert_nil ask("/small", "zstd")["Content-Encoding"]
  end

  def test_curl_reads_them
    skip "no curl here" unless system("curl", "--version", out: File::NULL, err: File::NULL)
    start
    features = `curl --version`[/^Features:.*/]
    { "gzip" => "libz", "br" => "brotli", "zstd" => "zstd" }.each do |coding, feature|
      next unless features.include?(feature)

      %w[/ /each].each do |path|
        text, status = Open3.capture2("curl", "-sS", "--max-time", "60", "--compressed",
                                      "-H", "Accept-Encoding: #{coding}",
                                      "http://127.0.0.1:#{server.port}#{path}")
        assert_predicate status, :success?
        assert_equal path == "/" ? TEXT : Array.new(200) { |at| "part #{at}\n" }.join, text, coding
      end
    end
  end

  private

  # What is said of the content, by either version of HTTP.
  def said_without_content(method, path, accepted, fields, condition)
    fields = fields.transform_keys { |name| "X-App-#{name}" }.merge("Accept-Encoding" => accepted, **condition)
    lines = fields.map { |name, value| "#{name}: #{value}\r\n" }.join
    names = %w[Content-Encoding Vary ETag Content-Length]
    one = request("#{method} #{path} HTTP/1.1\r\nHost: a\r\n#{lines}\r\n", head_only: method == "HEAD")
    socket = server.connect
    two = Http2Client.new(socket).request(path, method:, fields: fields.map { |name, value| [name.downcase, value] })
    said = names.map { |name| one[name] }
    assert_equal(said, names.map { |name| two[name.downcase] })
    said
  ensure
    socket&.close
  end

  def start(*arguments, words: "compress", app: APP, **options)
    spawn_server(*arguments, app: file("app.ru", app), config: "rserve { #{words} }\n", **options)
  end

  def ask(path, accepted, fields = {}, **options)
    fields = fields.transform_keys { |name| "X-App-#{name}" }
    get(path, headers: { "Accept-Encoding" => accepted }.merge(fields), **options)
  end

  def assert_decoded(text, response)
    decoded =
      case response["Content-Encoding"]
      when "gzip" then gunzip(response.body)
      when "br" then decode(%w[brotli -dc], response.body)
      when "zstd" then decode(%w[zstd -dcq], response.body)
      else response.body
      end
    assert decoded.nil? || decoded == text, "#{response.head}\n#{decoded.to_s[0, 200]}"
  end

  def gunzip(octets) = Zlib::GzipReader.new(StringIO.new(octets)).read

  # @return [String, nil] nil where there is no such program: the core's own tests decode as well
  def decode(command, octets)
    return unless system("which", command.first, out: File::NULL, err: File::NULL)

    text, status = Open3.capture2(*command, stdin_data: octets, binmode: true)
    assert_predicate status, :success?, command.join(" ")
    text
  end

  def read_chunk(socket)
    size = socket.gets.to_i(16)
    socket.read(size).tap { socket.read(2) }
  end
end
