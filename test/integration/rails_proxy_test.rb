# frozen_string_literal: true

require_relative "../helpers/rails_case"

# The Rails app behind a proxy: what it is told by fields, and what it tells.
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
end
