# frozen_string_literal: true

require "digest"
require_relative "../helpers/rails_case"
require_relative "../helpers/uploads"

# Many files at once for Active Storage, while pages are served.
class RailsUploadsTest < RailsCase
  include Uploads

  def self.limit = 90 + (Uploads::SIZE / 250_000)

  def test_files_arrive_whole_while_pages_are_served
    spawn_app env: { "WEB_CONCURRENCY" => "2" }
    files = random_files
    answers = upload_beside_pages(files, "/pid") { |path| upload(path) }
    files.zip(answers) { |path, answer| assert_same_file path, download(JSON.parse(answer).fetch("file")) }
  end

  # Rack 2 rewinds what it has read, and a form that breaks off is no fault of the application's.
  def test_files_and_forms_that_are_read_while_they_come
    File.write(File.join(app, "config/puma.rb"), "rserve { stream_uploads '/*' }\n", mode: "a")
    spawn_app
    @files = folder
    path = random_file("file")
    assert_same_file path, download(JSON.parse(curl(*upload(path))).fetch("file"))
    form = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    assert_equal 200, request("#{form}Content-Length: 8\r\n\r\ntext=Ada").status
    assert_equal 400, request("#{form}Transfer-Encoding: chunked\r\n\r\nx\r\n").status
  end

  private

  def upload(path)
    ["-H", "Accept: application/json", "-F", "note[body]=#{File.basename(path)}", "-F", "note[file]=@#{path}",
     url("/notes")]
  end

  # @return [String] path of a file
  def download(target)
    File.join(@files, "download").tap { |path| curl("--location", "--output", path, url(target)) }
  end

  def assert_same_file(expected, actual)
    assert_equal Digest::SHA256.file(expected).hexdigest, Digest::SHA256.file(actual).hexdigest, expected
  end
end
