# frozen_string_literal: true

require "digest"
require_relative "../helpers/rails_case"

# What one process of the Rails app answers in production.
class RailsPagesTest < RailsCase
  def setup
    super
    share_app
  end

  def test_sessions_last_and_are_not_to_be_forged
    first = visit("/")
    second = visit("/", cookie: first.cookie)
    assert_equal "Hello from Rails, visit 2", second.body
    assert_equal "Hello from Rails, visit 3", visit("/", cookie: second.cookie).body
    assert_equal "Hello from Rails, visit 1", visit("/", cookie: second.cookie.succ).body
  end

  def test_a_form_needs_its_token
    form = visit("/notes")
    fields = { "note[body]" => "Grüße & <more>" }
    assert_equal 422, submit("/notes", fields, cookie: form.cookie).status
    assert_equal 422, submit("/notes", fields.merge(authenticity_token: form.token)).status, "another one's token"
    created = submit("/notes", fields.merge(authenticity_token: form.token), cookie: form.cookie)
    assert_equal 302, created.status
    assert_includes visit(location(created), cookie: form.cookie).body, "<h1>Grüße &amp; &lt;more&gt;</h1>"
    assert_includes notes, "Grüße & <more>"
  end

  def test_an_upload_comes_back_whole
    content = Random.bytes(3_000_000)
    form = visit("/notes")
    created = submit("/notes", { "note[body]" => "file", "authenticity_token" => form.token }, file: content,
                                                                                               cookie: form.cookie)
    link = visit(location(created)).body[/<a id="file" href="([^"]+)"/, 1]
    download = get(location(visit(link)))
    assert_match(/attachment; filename="file.bin"/, download["Content-Disposition"])
    assert_equal Digest::SHA256.hexdigest(content), Digest::SHA256.hexdigest(download.body)
    part = get(location(visit(link)), headers: { "Range" => "bytes=1000-1999" })
    assert_equal [206, content[1000, 1000]], [part.status, part.body]
  end

  def test_concurrent_writes
    counts = at_once(8, 10) { submit_json("/count", {}).body.to_i }
    assert_equal 80, counts.max
    bodies = at_once(8, 5) { |client, turn| "note #{client} #{turn}".tap { |body| create_note(body) } }
    assert_empty bodies - notes
  end

  def test_jobs_are_done_in_the_process
    assert_equal 202, submit_json("/jobs", { body: "by a job" }).status
    server.wait_until("the job has made a note", 10) { notes.include?("by a job") }
  end

  def test_send_file
    response = get("/download")
    page = File.read(File.join(app, "public/500.html"))
    assert_equal ["text/html", page], [response["Content-Type"][/\A[^;]+/], response.body]
    head = request("HEAD /download HTTP/1.1\r\nHost: localhost\r\n\r\n", head_only: true)
    assert_equal [200, ""], [head.status, head.body]
  end

  def test_server_sent_events_come_one_by_one_and_end
    with_listener do |socket|
      tell("über")
      assert_equal 'data: {"text":"über"}', event(socket)
      tell("more")
      assert_equal 'data: {"text":"more"}', event(socket)
      tell("end")
      length = Timeout.timeout(Patience.for(10)) { socket.each_line.find { |line| line.match?(/\A\h+\r/) } }
      assert_equal "0\r\n", length
    end
  end

  def test_a_listener_that_leaves_frees_its_thread
    with_listener { pass }
    mark = server.mark
    server.wait_until("the app has noticed", 10) do
      tell("anybody there?")
      server.log.byteslice(mark..).include?("The listener has left")
    end
    assert_serving "Hello from Rails, visit 1"
  end

  def test_error_pages
    response = get("/raise")
    assert_equal [500, File.read(File.join(app, "public/500.html"))], [response.status, response.body]
    assert_log(/RuntimeError.*on purpose/)
    assert_equal [404, File.read(File.join(app, "public/404.html"))], get("/nowhere").then { [_1.status, _1.body] }
    assert_equal 400, get("/?a=%").status
    assert_serving "Hello from Rails, visit 1"
  end

  private

  # @return [Array] what the block returned for each client and turn
  def at_once(clients, turns)
    Array.new(clients) do |client|
      Thread.new { Array.new(turns) { |turn| yield client, turn } }
    end.flat_map(&:value)
  end

  def create_note(body) = assert_equal(200, submit_json("/notes", { "note[body]" => body }).status)

  def tell(text) = assert_equal(204, submit("/stream", { text: }).status)

  # A connection on which the stream has begun.
  def with_listener
    socket = server.connect
    socket.write("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert_equal 'data: {"text":"listening"}', event(socket)
    yield socket
  ensure
    socket.close
  end

  # The next line of data, of the event stream.
  def event(socket)
    line = nil
    Timeout.timeout(Patience.for(10)) do
      line = socket.gets.force_encoding("UTF-8").chomp until line&.start_with?("data:")
    end
    line
  end
end
