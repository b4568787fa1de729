# frozen_string_literal: true

require "digest"
require_relative "../helpers/http2_client"
require_relative "../helpers/rails_case"

# One process of the Rails app in production, by HTTP/2, all on one connection.
class RailsHttp2Test < RailsCase
  def setup
    super
    File.write(File.join(app, "config/puma.rb"), "\nrserve { http2 }\n", mode: "a")
    spawn_app
    @client = Http2Client.new(server.connect, settings: { 4 => 1 << 24 })
    @client.open_window(1 << 30)
  end

  def teardown
    @client&.close
    super
  end

  def test_pages_forms_and_files
    pass_through_pages
    pass_through_a_form
    send_files
    take_events_as_they_come
    ask_many_at_a_time
    assert_empty @client.goaways
  end

  private

  def pass_through_pages
    first = @client.request("/")
    assert_equal "Hello from Rails, visit 1", first.body
    assert_equal "Hello from Rails, visit 2", @client.request("/", fields: [cookie_of(first)]).body
    missing = @client.request("/nowhere")
    assert_equal [404, File.read(File.join(app, "public/404.html"))], [missing.status, missing.body]
    assert_equal 500, @client.request("/raise").status
  end

  def pass_through_a_form
    form = @client.request("/notes")
    token = form.body.force_encoding("UTF-8")[/name="authenticity_token" value="([^"]+)"/, 1]
    content = Random.bytes(2_000_000)
    created = post_file({ "note[body]" => "file", "authenticity_token" => token }, content, cookie_of(form))
    assert_equal 302, created.status
    link = @client.request(URI(created["location"]).request_uri).body[/<a id="file" href="([^"]+)"/, 1]
    download = @client.request(URI(@client.request(link)["location"]).request_uri)
    assert_equal Digest::SHA256.hexdigest(content), Digest::SHA256.hexdigest(download.body)
    part = @client.request(URI(@client.request(link)["location"]).request_uri, fields: [%w[range bytes=1000-1999]])
    assert_equal [206, content[1000, 1000]], [part.status, part.body]
  end

  # The body in frames, as much at a time as the windows have room for.
  def post_file(form, content, cookie)
    type, body = multipart(form, content)
    fields = [cookie, %w[accept text/html], ["content-type", type], ["content-length", body.bytesize.to_s]]
    stream = @client.begin_request("/notes", method: "POST", ended: false, fields:)
    (0...body.bytesize).step(16_000).each_slice(4) do |starts|
      starts.each { |start| @client.write(Http2Frames.data(stream, body.byteslice(start, 16_000), 0)) }
      @client.sync
    end
    @client.write(Http2Frames.data(stream, ""))
    @client.await(stream, timeout: 30)
  end

  def send_files
    assert_equal File.read(File.join(app, "public/500.html")), @client.request("/download").body
    head = @client.request("/download", method: "HEAD")
    assert_equal [200, ""], [head.status, head.body]
  end

  def take_events_as_they_come
    events = @client.begin_request("/stream")
    wait_for_event(events, "listening")
    %w[first second].each do |text|
      assert_equal 204, submit("/stream", { text: }).status
      wait_for_event(events, text)
    end
    assert_equal "Hello from Rails, visit 1", @client.request("/").body
    assert_equal 204, submit("/stream", { text: "end" }).status
    assert_nil @client.await(events).reset
  end

  def wait_for_event(stream, text) = @client.read_until(20) { @client.answers[stream].body.include?(%("#{text}")) }

  def ask_many_at_a_time
    streams = Array.new(60) { @client.begin_request("/notes") }
    streams.each { |stream| assert_equal 200, @client.await(stream, timeout: 30).status }
  end

  def cookie_of(answer) = ["cookie", [*answer["set-cookie"]].map { |cookie| cookie[/\A[^;]+/] }.join("; ")]
end
