# frozen_string_literal: true

require "digest"
require_relative "../helpers/rails_case"

# The Rails app behind a proxy, or with a word that makes one needless: what it is told, and what it tells.
class RailsProxyTest < RailsCase
  HTTPS = { "X-Forwarded-Proto" => "https", "X-Forwarded-For" => "203.0.113.7", "Host" => "shop.example" }.freeze

  def test_force_ssl
    spawn_app env: { "FORCE_SSL" => "1" }
    plain = get("/notes", headers: HTTPS.merge("X-Forwarded-Proto" => "http"))
    assert_equal [301, "https://shop.example/notes"], [plain.status, plain["Location"]]
    secure = get("/", headers: HTTPS)
    assert_equal 200, secure.status
    assert_match(/max-age=\d+/, secure["Strict-Transport-Security"])
    assert_match(/; secure/i, secure["Set-Cookie"])
    assert_log(%r{Started GET "/" for 203\.0\.113\.7})
  end

  def test_x_sendfile
    spawn_app env: { "X_SENDFILE_HEADER" => "X-Sendfile" }
    response = get("/download")
    assert_equal [200, "", File.join(File.realpath(app), "public/500.html")],
                 [response.status, response.body, response["X-Sendfile"]]
  end
  # What Rack::Sendfile has made of the answer stands in a field that the server does not take away.
  NAMED = <<~RUBY
    named = Class.new do
      define_method(:initialize) { |app| @app = app }
      define_method(:call) do |env|
        status, fields, body = @app.call(env)
        file = fields["X-Sendfile"] || fields["x-sendfile"]
        [status, file ? fields.merge("x-named" => file) : fields, body]
      end
    end
    Rails.application.config.middleware.insert_before 0, named
  RUBY

  # Active Storage's DiskController answers with a body that has a path; nothing is configured in the app.
  def test_the_server_sends_what_active_storage_keeps_on_disk
    skip "the server is not rserve" if TestServer::PUMA
    storage = File.join(app_env.fetch("APP_DATA"), "storage")
    FileUtils.mkdir_p([storage, File.join(app, "config/initializers")])
    File.write(File.join(app, "config/initializers/named.rb"), NAMED)
    File.write(File.join(app, "config/puma.rb"), "rserve { x_sendfile #{storage.dump} }\n", mode: "a")
    spawn_app
    content = Random.bytes(300_000)
    link = location(visit(upload(content)))
    whole = get(link)
    assert_equal [200, Digest::SHA256.hexdigest(content)], [whole.status, Digest::SHA256.hexdigest(whole.body)]
    assert_path_exists whole["X-Named"].to_s, "the app has named the file"
    assert whole["X-Named"].start_with?(File.realpath(storage), storage)
    assert_nil whole["X-Sendfile"]
    assert_equal "application/octet-stream", whole["Content-Type"]
    assert_match(/\Aattachment; filename="file.bin"/, whole["Content-Disposition"])
    part = get(link, headers: { "Range" => "bytes=1000-1999" })
    assert_equal [206, content[1000, 1000]], [part.status, part.body]
  end

  private

  # @return [String] the path of the file that a note has now
  def upload(content)
    form = visit("/notes")
    created = submit("/notes", { "note[body]" => "file", "authenticity_token" => form.token }, file: content,
                                                                                               cookie: form.cookie)
    visit(location(created)).body[/<a id="file" href="([^"]+)"/, 1]
  end
end
