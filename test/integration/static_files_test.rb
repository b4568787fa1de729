# frozen_string_literal: true

require "openssl"
require_relative "../helpers/server_case"
require_relative "../helpers/certificates"
require_relative "../helpers/path_variants"

# `static`: files that the server answers with, without the application.
class StaticFilesTest < ServerCase
  parallelize_me!

  APP = <<~RUBY
    run ->(env) { [200, {}, ["app ", env["REQUEST_METHOD"], " ", env["PATH_INFO"]]] }
  RUBY
  CSS = "body { margin: 0 }\n" * 100
  SECRET = "not for you"
  # More than sockets hold.
  LARGE = 16 << 20

  def setup
    super
    @place = folder
    @public = File.join(@place, "public")
    %w[inner .git .well-known assets].each { |name| FileUtils.mkdir_p(File.join(@public, name)) }
    { "index.html" => "<p>index", "about.html" => "<p>about", "inner/index.html" => "<p>inner", "app.css" => CSS,
      "app.css.gz" => "as gzip", "app.css.br" => "as br", "assets/app-1a2b3c4d.js" => "let a", "empty.txt" => "",
      "ten.txt" => "0123456789", ".env" => SECRET, ".git/config" => SECRET,
      ".well-known/.env" => SECRET, "inner/.htaccess" => SECRET, ".well-known/security.txt" => "Contact: me" }
      .each { |name, text| write(name, text) }
    write("../secret.txt", SECRET)
  end

  # [target, fields, status, body, fields of the response]
  TABLE = [
    ["/app.css", {}, 200, CSS,
     { "Content-Type" => "text/css", "Vary" => "Accept-Encoding", "Accept-Ranges" => "bytes" }],
    ["/app.css", { "Accept-Encoding" => "gzip, br" }, 200, "as br", { "Content-Encoding" => "br" }],
    ["/app.css", { "Accept-Encoding" => "gzip" }, 200, "as gzip", { "Content-Type" => "text/css" }],
    ["/app.css", { "Accept-Encoding" => "gzip;q=0" }, 200, CSS, { "Content-Encoding" => nil }],
    ["/", {}, 200, "<p>index", { "Content-Type" => "text/html" }],
    ["/about", {}, 200, "<p>about", { "Content-Type" => "text/html" }],
    ["/inner/", {}, 200, "<p>inner", {}],
    ["/inner?a=b", {}, 200, "<p>inner", {}],
    ["/%61bout.html", {}, 200, "<p>about", {}],
    ["http://localhost/about", {}, 200, "<p>about", {}],
    ["/empty.txt", {}, 200, "", { "Content-Length" => "0" }],
    ["/assets/app-1a2b3c4d.js", {}, 200, "let a", { "Cache-Control" => "public, max-age=31536000, immutable" }],
    ["/.well-known/security.txt", {}, 200, "Contact: me", {}],
    ["/ten.txt", { "Range" => "bytes=2-4" }, 206, "234", { "Content-Range" => "bytes 2-4/10" }],
    ["/ten.txt", { "Range" => "bytes=-2" }, 206, "89", { "Content-Length" => "2" }],
    ["/ten.txt", { "Range" => "bytes=10-" }, 416, "", { "Content-Range" => "bytes */10" }],
    ["/ten.txt", { "Range" => "bytes=0-,0-,0-" }, 200, "0123456789", {}],
    ["/ten.txt", { "If-None-Match" => "*" }, 304, "", { "Content-Length" => nil, "Content-Type" => nil }],
    ["/ten.txt", { "If-Match" => '"other"' }, 412, "", {}],
    ["/missing", {}, 200, "app GET /missing", { "ETag" => nil }],
    ["/inner/.htaccess", {}, 200, "app GET /inner/.htaccess", {}],
    ["/../secret.txt", {}, 200, "app GET /../secret.txt", {}]
  ].freeze

  def test_files_in_every_mode
    { [] => nil, %w[-w 2] => nil, %w[-w 1 --preload] => nil, %w[--compat 8] => nil }.each_key do |arguments|
      start(*arguments)
      TABLE.each do |target, fields, status, body, wanted|
        response = get(target, headers: fields)
        what = "#{arguments} #{target} #{fields}"
        assert_equal [status, body], [response.status, response.body], what
        wanted.each do |name, value|
          value ? assert_equal(value, response[name], what) : assert_nil(response[name], what)
        end
      end
      server.stop
    end
  end

  def test_files_over_tls_and_a_unix_socket
    cert, key = Certificates.new(folder).issue("server")
    port = UniquePort.call
    path = File.join(folder, "s")
    large = make_large
    start("-b", "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}", "-b", "unix://#{path}", listen: false)
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).tap { |it| it.sync_close = true }.connect
    [tls, UNIXSocket.new(path)].each do |socket|
      reader = ResponseReader.new(socket)
      ["/app.css", "/missing", "/large.bin", "/ten.txt"].each do |target|
        socket.write("GET #{target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        body = reader.receive(timeout: 30).body
        wanted = { "/app.css" => CSS, "/missing" => "app GET /missing", "/ten.txt" => "0123456789" }
        target == "/large.bin" ? assert(body == large, "large file") : assert_equal(wanted[target], body)
      end
      socket.close
    end
  end

  def test_methods_and_versions
    start
    head = request("HEAD /app.css HTTP/1.1\r\nHost: a\r\n\r\n", head_only: true)
    assert_equal [200, CSS.bytesize.to_s], [head.status, head["Content-Length"]]
    assert_equal "app POST /app.css", request("POST /app.css HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").body
    server.exchange("GET /ten.txt HTTP/1.0\r\n\r\n") do |reader|
      assert_equal "0123456789", reader.receive.body
      assert reader.closed?
    end
    server.exchange("GET /ten.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") do |reader|
      assert_equal "close", reader.receive["Connection"]
      assert reader.closed?
    end
    expecting = request("GET /ten.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
    assert_equal ["0123456789", 1], [expecting.body, expecting.informational.size]
  end

  def test_responses_come_in_the_order_of_their_requests
    make_large
    start
    targets = %w[/app.css /one /large.bin /ten.txt /two /missing] + (["/ten.txt"] * 30) + ["/last"]
    octets = targets.map { |target| "GET #{target} HTTP/1.1\r\nHost: a\r\n\r\n" }.join
    lengths = { "/app.css" => CSS.bytesize, "/large.bin" => LARGE, "/ten.txt" => 10 }
    server.exchange(octets) do |reader|
      targets.each do |target|
        response = reader.receive(timeout: 30)
        assert_equal lengths.fetch(target) { "app GET #{target}".bytesize }, response.body.bytesize, target
      end
    end
  end

  def test_several_ranges
    start
    response = get("/ten.txt", headers: { "Range" => "bytes=0-1, -1" })
    boundary = response["Content-Type"][%r{\Amultipart/byteranges; boundary=(\S+)\z}, 1]
    parts = [%w[0-1 01], %w[9-9 9]].map do |range, octets|
      "--#{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes #{range}/10\r\n\r\n#{octets}\r\n"
    end
    assert_equal "#{parts.join}--#{boundary}--\r\n", response.body
  end

  def test_a_client_that_has_the_file_is_told_so
    start
    first = get("/ten.txt")
    { "If-None-Match" => first["ETag"], "If-Modified-Since" => first["Last-Modified"] }.each do |name, value|
      assert_equal 304, get("/ten.txt", headers: { name => value }).status, name
    end
    resumed = get("/ten.txt", headers: { "Range" => "bytes=5-", "If-Range" => first["ETag"] })
    assert_equal [206, "56789"], [resumed.status, resumed.body]
    write("ten.txt", "9876543210")
    assert_equal "9876543210", get("/ten.txt", headers: { "If-None-Match" => first["ETag"] }).body
    resumed = get("/ten.txt", headers: { "Range" => "bytes=5-", "If-Range" => first["ETag"] })
    assert_equal [200, "9876543210"], [resumed.status, resumed.body]
  end

  def test_fields_of_the_operator_and_of_rails
    app = <<~RUBY
      module Rails
        Configuration = Struct.new(:public_file_server)
        Server = Struct.new(:headers)
        def self.config = Configuration.new(Server.new({ "X-Rails" => 1, "cache-control" => "max-age=60" }))
        def self.application = self
      end
      #{APP}
    RUBY
    config = <<~RUBY
      rserve do
        static "#{@public}", at: "/files/", headers: { "Cache-Control" => "no-store", "X-Own" => "a" }
        static "#{@public}"
      end
    RUBY
    spawn_server(app: file("app.ru", app), config:)
    own = get("/files/assets/app-1a2b3c4d.js")
    assert_equal %w[no-store a 1], [own["Cache-Control"], own["X-Own"], own["X-Rails"]]
    other = get("/ten.txt")
    assert_equal ["max-age=60", nil], [other["Cache-Control"], other["X-Own"]]
    assert_match(/immutable/, get("/assets/app-1a2b3c4d.js")["Cache-Control"])
    assert_equal "app GET /files/missing", get("/files/missing").body
  end

  # Every thread has a request, and the VM is busy with it.
  def test_a_file_waits_for_no_thread
    gate = File.join(folder, "gate")
    app = "run ->(env) { nil until File.exist?(#{gate.dump}); [200, {}, ['done']] }\n"
    config = "threads 1, 1\nrserve { static #{@public.dump} }\n"
    { [] => 1, %w[-w 2] => 4 }.each do |arguments, busy|
      spawn_server(*arguments, app: file("app.ru", app), config:)
      waiting = Array.new(busy) do
        server.connect.tap do |socket|
          socket.write("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
        end
      end
      20.times { assert_equal "0123456789", get("/ten.txt").body }
      waiting.each { |socket| assert_nil socket.to_io.wait_readable(0), "the application has answered" }
      File.write(gate, "")
      waiting.each { |socket| assert_equal "done", ResponseReader.new(socket).receive.body }
      server.stop
      File.delete(gate)
    end
  end

  def test_nothing_outside_of_the_folder_is_served
    File.symlink("../secret.txt", File.join(@public, "out.txt"))
    File.symlink("..", File.join(@public, "out"))
    File.symlink(@place, File.join(@public, "away"))
    File.symlink(File.join(@place, "secret.txt"), File.join(@public, "absolute.txt"))
    File.symlink("inner", File.join(@public, "link"))
    File.symlink("loop.txt", File.join(@public, "loop.txt"))
    %w[fifo.txt inner/fifo].each { |name| File.mkfifo(File.join(@public, name)) }
    targets = PathVariants.all(["secret.txt", "etc/passwd", File.join(@place, "secret.txt"), "/etc/passwd"])
    assert_operator targets.size, :>, 2000
    spawn_server(app: file("app.ru", "run ->(env) { [200, {}, ['app']] }\n"), config: <<~RUBY)
      rserve { static #{@public.dump}; static #{@public.dump}, at: "/assets" }
    RUBY
    answers = targets.each_slice(50).flat_map { |some| answers_to(some) }
    leaked = targets.zip(answers).select { |_, answer| answer.match?(/#{SECRET}|root:/o) }
    assert_empty leaked.first(5)
    # What is not refused is the application's, or one of the files that are meant to be served.
    odd = targets.zip(answers).reject do |_, answer|
      answer.match?(%r{\AHTTP/1\.1 400 |\r\n\r\n(app|<p>index|<p>inner)\z})
    end
    assert_empty odd.first(5)
    assert_equal "0123456789", get("/ten.txt").body
  end

  def test_a_file_that_changes_while_it_is_sent_ends_its_response
    cert, key = Certificates.new(folder).issue("server")
    port = UniquePort.call
    start("-b", "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}")
    tls = lambda do
      OpenSSL::SSL::SSLSocket.new(slow_socket("127.0.0.1", port)).tap { |it| it.sync_close = true }.connect
    end
    plain = -> { slow_socket("127.0.0.1", server.port) }
    path = File.join(@public, "large.bin")
    changes = { "cut" => -> { File.truncate(path, 1000) },
                "written to" => -> { File.open(path, "r+b") { |it| it.write("other") } } }
    [plain, tls].product(changes.to_a).each do |connect, (what, change)|
      make_large
      socket = begin_to_read(connect.call)
      change.call
      assert_operator rest_of(socket), :<, LARGE, what
    end
  end

  def test_a_file_that_is_replaced_while_it_is_sent_is_sent_as_it_was
    large = make_large
    start
    socket = slow_socket("127.0.0.1", server.port)
    begin_to_read(socket)
    File.write("#{@public}/new", "new")
    File.rename("#{@public}/new", "#{@public}/large.bin")
    assert_equal large.bytesize, rest_of(socket)
    assert_equal "new", get("/large.bin").body
  end

  def test_a_stop_waits_for_the_file_that_is_sent
    large = make_large
    start
    socket = begin_to_read(slow_socket("127.0.0.1", server.port))
    server.signal(:TERM)
    assert_refuses_connections
    assert_equal large.bytesize, rest_of(socket)
    assert_exits :TERM
  end

  # Who reads nothing costs the sockets' buffers, which are the kernel's, and a descriptor.
  def test_slow_readers_take_no_memory_and_no_thread
    make_large
    start("-t", "2:2", more: "write_timeout 300")
    10.times { get("/large.bin", timeout: 60) }
    before = memory
    sockets = Array.new(100) { begin_to_read(slow_socket("127.0.0.1", server.port)) }
    50.times { assert_equal "app GET /hello", get("/hello").body }
    assert_operator memory - before, :<=, 8 << 20
    descriptors = Dir.children("/proc/#{server.pid}/fd").size
    assert_operator descriptors, :<, (100 * 2) + 50
    sockets.first(3).each { |socket| assert_equal LARGE, rest_of(socket) }
    sockets.each(&:close)
    server.wait_until("descriptors are given back", 20) { Dir.children("/proc/#{server.pid}/fd").size < 60 }
  end

  def test_without_descriptors_it_says_that_it_is_busy
    app = <<~RUBY
      held = []
      run lambda { |env|
        case env["PATH_INFO"]
        when "/take" then begin loop { held << File.open(File::NULL) } rescue Errno::EMFILE end
        when "/give" then held.each(&:close).clear
        end
        [200, {}, ["app"]]
      }
    RUBY
    config = "Process.setrlimit(:NOFILE, 128)\nrserve { static #{@public.dump} }\n"
    spawn_server(app: file("app.ru", app), config:)
    server.exchange("GET /take HTTP/1.1\r\nHost: a\r\n\r\n") do |reader, socket|
      assert_equal "app", reader.receive.body
      socket.write("GET /ten.txt HTTP/1.1\r\nHost: a\r\n\r\n")
      busy = reader.receive
      assert_equal [503, "1"], [busy.status, busy["Retry-After"]]
      socket.write("GET /give HTTP/1.1\r\nHost: a\r\n\r\n")
      assert_equal "app", reader.receive.body
      socket.write("GET /ten.txt HTTP/1.1\r\nHost: a\r\n\r\n")
      assert_equal "0123456789", reader.receive.body
    end
  end

  def test_operators_see_them
    health = UniquePort.call
    start("-w", "2", more: "access_log; log_format :json; health_bind 'tcp://127.0.0.1:#{health}'")
    3.times { get("/ten.txt") }
    get("/missing")
    assert_log(%r{"path":"/ten\.txt".*"status":200,"complete":true.*"resp_bytes":\d+})
    server.wait_until("the metrics tell of three files", 20) do
      socket = TCPSocket.new("127.0.0.1", health)
      socket.write("GET /metrics HTTP/1.0\r\n\r\n")
      text = socket.read
      socket.close
      text.match?(/^rserve_static_requests_total 3$/) &&
        text.match?(/^http_server_request_duration_seconds_count\{.*status_code="200".*\} 4$/)
    end
  end

  # What the server knows of the folder it forgets as soon as that changes.
  def test_a_file_that_comes_later_is_served_at_once
    start
    server.wait_until("the folder has not changed for some seconds", 5) { Time.now - File.ctime(@public) > 3.5 }
    2.times { assert_includes get("/later.txt").body, "app" }
    write("later.txt", "here")
    assert_equal "here", get("/later.txt").body
    File.unlink(File.join(@public, "later.txt"))
    assert_includes get("/later.txt").body, "app"
    FileUtils.mkdir(File.join(@public, "later"))
    write("later/index.html", "a folder")
    assert_equal "a folder", get("/later").body
  end

  def test_an_operators_mistake_is_one_line
    { "static 'nowhere'" => /static nowhere: there is no folder .+nowhere \(mkdir -p/,
      "static 'README.md'" => /static README.md: .+README.md is no folder/ }.each do |words, line|
      [[], ["--check"], %w[-w 2]].each do |arguments|
        spawn_server(*arguments, config: "rserve { #{words} }\n", wait: false)
        assert_exits 1
        assert_match line, server.log
        assert_equal 1, server.log.lines.grep_v(/^(\[\d+\] )?\*/).size, server.log
      end
    end
  end

  private

  def write(name, text) = File.write(File.join(@public, name), text)

  def start(*arguments, more: "", **options)
    spawn_server(*arguments, app: file("app.ru", APP), config: "rserve { static #{@public.dump}; #{more} }\n",
                             **options)
  end

  def make_large
    large = Random.new(1).bytes(LARGE)
    File.binwrite(File.join(@public, "large.new"), large)
    # Kernels before 6.13 tell times that are less than a tick apart as the same.
    File.utime(Time.now - 3600, Time.now - 3600, File.join(@public, "large.new"))
    File.rename(File.join(@public, "large.new"), File.join(@public, "large.bin"))
    large
  end

  # One whose buffer is so small that the server must wait for it.
  def slow_socket(host, port)
    socket = Socket.new(:INET, :STREAM)
    socket.setsockopt(:SOCKET, :RCVBUF, 16_384)
    socket.connect(Socket.sockaddr_in(port, host))
    socket
  end

  def begin_to_read(socket)
    socket.write("GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    @head = String.new
    @head << socket.readpartial(1000) until @head.include?("\r\n\r\n")
    @begun = (@begun || {}).merge(socket => @head.split("\r\n\r\n", 2).last.bytesize)
    socket
  end

  # @return [Integer] octets of the body that came
  def rest_of(socket)
    count = @begun.fetch(socket)
    loop { count += socket.readpartial(1 << 20).bytesize }
  rescue EOFError, Errno::ECONNRESET, OpenSSL::SSL::SSLError
    count
  end

  # Each on a connection of its own, all of them at once.
  def answers_to(targets)
    sockets = targets.map do |target|
      server.connect.tap { |it| it.write("GET #{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") }
    end
    sockets.map { |socket| socket.read.tap { socket.close } }
  end

  def memory = File.read("/proc/#{server.pid}/status")[/^VmRSS:\s*(\d+)/, 1].to_i * 1024
end
