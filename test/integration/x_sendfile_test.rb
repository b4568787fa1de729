# frozen_string_literal: true

require_relative "../helpers/gc_stress"
require_relative "../helpers/server_case"

# `x_sendfile`: files that the application names and the server sends.
class XSendfileTest < ServerCase
  parallelize_me!

  SECRET = "not for you"
  LARGE = 16 << 20

  # It answers with the file that the query names, and with the fields that the request brings as X-App-….
  APP = <<~'RUBY'
    run lambda { |env|
      file = env["QUERY_STRING"]
      fields = { "Content-Type" => "image/png", "X-Sendfile" => file, "X-Type" => env["sendfile.type"].inspect }
      env.each { |name, value| fields[name[11..].tr("_", "-")] = value if name.start_with?("HTTP_X_APP_") }
      status = Integer(fields.delete("STATUS") || 200)
      asked = env.keys.grep(/SENDFILE|ACCEL/).sort.join(",")
      [status, fields.merge("X-Asked" => asked), ["of the application"]]
    }
  RUBY

  def setup
    super
    @place = File.realpath(folder)
    @storage = File.join(@place, "storage")
    FileUtils.mkdir_p(File.join(@storage, "ab"))
    { "storage/ab/file" => "0123456789", "storage/.hidden" => "hidden", "secret" => SECRET }
      .each { |name, text| File.write(File.join(@place, name), text) }
    File.symlink("../secret", File.join(@storage, "link"))
    File.symlink(@storage, File.join(@place, "current"))
  end

  def test_files_in_every_mode
    [[], %w[-w 2], %w[--compat 8]].each do |arguments|
      start(*arguments)
      { "ab/file" => "0123456789", ".hidden" => "hidden" }.each do |name, text|
        response = ask(name)
        assert_equal [200, text, "image/png", '"X-Sendfile"'],
                     [response.status, response.body, response["Content-Type"], response["X-Type"]]
        assert_nil response["X-Sendfile"]
      end
      head = request("HEAD /?#{@storage}/ab/file HTTP/1.1\r\nHost: a\r\n\r\n", head_only: true)
      assert_equal [200, "10"], [head.status, head["Content-Length"]]
      server.stop
    end
  end

  def test_ranges_and_conditions
    start
    whole = ask("ab/file")
    { { "Range" => "bytes=2-4" } => [206, "234"], { "Range" => "bytes=20-" } => [416, ""],
      { "If-None-Match" => whole["ETag"] } => [304, ""], { "If-Modified-Since" => whole["Last-Modified"] } => [304, ""],
      { "Range" => "bytes=2-4", "If-Range" => whole["ETag"] } => [206, "234"],
      { "Range" => "bytes=2-4", "If-Range" => '"old"' } => [200, "0123456789"],
      { "Range" => "bytes=2-4", "X-App-ETag" => '"app"', "If-Range" => '"app"' } => [206, "234"],
      { "If-None-Match" => '"app"', "X-App-ETag" => '"app"' } => [304, ""],
      { "Range" => "bytes=2-4", "X-App-Status" => "404" } => [404, "0123456789"] }.each do |fields, wanted|
      response = ask("ab/file", fields)
      assert_equal wanted, [response.status, response.body], fields
    end
    several = ask("ab/file", "Range" => "bytes=0-1,-1")
    assert_match(%r{\Amultipart/byteranges; boundary=}, several["Content-Type"])
    assert_match(%r{Content-Type: image/png\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--}, several.body)
    posted = request("POST /?#{@storage}/ab/file HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nContent-Length: 0\r\n\r\n")
    assert_equal [200, "0123456789"], [posted.status, posted.body]
  end

  def test_connection_of_the_application_stands_on_a_line_of_its_own
    start
    after = { "X-App-Connection" => "x-option", "X-App-X-Last" => "last of them" }
    [{ "X-App-Transfer-Encoding" => "chunked" }, { "X-App-Content-Range" => "bytes 0-1/2" }, {}].each do |before|
      fields = before.merge(after)
      [["bytes=2-4", "234"], ["bytes=0-1,-1", /\r\n\r\n9\r\n--/], ["", "0123456789"]].each do |range, body|
        response = ask("ab/file", fields.merge("Range" => range))
        assert_equal ["x-option", "last of them"], [response["Connection"], response["X-Last"]], "#{fields} #{range}"
        assert_operator body, :===, response.body
      end
    end
  end

  def test_what_is_in_no_folder_is_an_error
    File.mkfifo(File.join(@storage, "fifo"))
    start
    { "#{@place}/secret" => "in none of the folders", "#{@storage}/../secret" => "in none of the folders",
      "#{@storage}/link" => "in none of the folders", "/etc/passwd" => "in none of the folders",
      "ab/file" => "in none of the folders", "#{@storage}/ab" => "EISDIR", "#{@storage}/fifo" => "EISDIR",
      "#{@storage}/missing" => "ENOENT" }.each do |path, reason|
      mark = server.mark
      response = get("/?#{path}")
      assert_equal 500, response.status, path
      refute_match(/#{SECRET}|root:/, response.body)
      server.wait_for_log(/X-Sendfile names #{Regexp.escape(path)}: .*#{reason}/, after: mark)
    end
    assert_equal "0123456789", ask("ab/file").body
  end

  def test_a_folder_goes_by_its_name_with_and_without_links
    spawn_server(app: file("app.ru", APP), config: "directory #{@place.dump}\nrserve { x_sendfile 'current' }\n")
    assert_equal "0123456789", get("/?#{@place}/current/ab/file").body
    assert_equal "0123456789", ask("ab/file").body
  end

  def test_clients_have_no_say
    start
    fields = { "X-Sendfile-Type" => "X-Accel-Redirect", "X-Accel-Mapping" => "/=/", "X_Sendfile_Type" => "a",
               "X-Accel-Anything" => "b" }
    assert_equal "", ask("ab/file", fields)["X-Asked"]
  end

  def test_off_it_is_a_field_like_any_other
    spawn_server(app: file("app.ru", APP))
    response = ask("ab/file", "X-Sendfile-Type" => "a")
    assert_equal ["of the application", "#{@storage}/ab/file", "nil", "HTTP_X_SENDFILE_TYPE"],
                 [response.body, response["X-Sendfile"], response["X-Type"], response["X-Asked"]]
  end

  def test_rack_sendfile_does_it_by_itself
    app = <<~RUBY
      require "rack/sendfile"
      use Rack::Sendfile
      sends = Class.new do
        define_method(:to_path) { #{"#{@storage}/ab/file".dump} }
        define_method(:each) { |&block| block.call("of the application") }
        define_method(:close) { warn "closed" }
      end
      run ->(env) { [200, { "content-type" => "text/plain" }, sends.new] }
    RUBY
    spawn_server(app: file("app.ru", app), config: "rserve { x_sendfile #{@storage.dump} }\n")
    response = get("/", headers: { "Range" => "bytes=1-2" })
    assert_equal [206, "12"], [response.status, response.body]
    assert_log(/closed/)
  end

  def test_a_slow_reader_holds_no_thread_and_a_file_that_is_cut_ends_the_response
    large = File.join(@storage, "large")
    File.binwrite(large, "x" * LARGE)
    start("-t", "1:1")
    socket = server.connect
    socket.write("GET /?#{large} HTTP/1.1\r\nHost: a\r\n\r\n")
    head = socket.readpartial(4096)
    assert_match(/^Content-Length: #{LARGE}\r$/, head)
    assert_equal "0123456789", ask("ab/file").body
    File.truncate(large, 10)
    assert_operator socket.read.bytesize, :<, LARGE
    socket.close
  end

  def test_under_the_stress_of_the_garbage_collector
    app = file("app.ru", GcStress::AFTER_THE_APPLICATION + APP)
    spawn_server("-t", "1:1", app:, config: "rserve { x_sendfile #{@storage.dump} }\n")
    5.times do
      assert_equal "0123456789", ask("ab/file").body
      assert_equal "234", ask("ab/file", "Range" => "bytes=2-4", "X-App-ETag" => '"a"', "If-Range" => '"a"').body
    end
  end

  def test_an_operators_mistake_is_one_line
    spawn_server(config: "rserve { x_sendfile 'nowhere' }\n", wait: false)
    assert_exits 1
    assert_match(/x_sendfile nowhere: there is no folder .+nowhere/, server.log)
  end

  private

  def start(*arguments)
    spawn_server(*arguments, app: file("app.ru", APP), config: "rserve { x_sendfile #{@storage.dump} }\n")
  end

  def ask(name, fields = {}) = get("/?#{@storage}/#{name}", headers: fields)
end
