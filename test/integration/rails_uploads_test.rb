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
