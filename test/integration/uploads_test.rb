# frozen_string_literal: true

require "digest"
require_relative "../helpers/server_case"
require_relative "../helpers/uploads"

# Many files at once, while pages are served, and an app that costs next to nothing.
class UploadsTest < ServerCase
  include Uploads

  def self.limit = 90 + (Uploads::SIZE / 250_000)

  # Keeps what comes where a query says.
  APP = <<~'RUBY'
    run lambda { |env|
      if env["REQUEST_METHOD"] == "PUT"
        input = env["rack.input"]
        File.open(env["QUERY_STRING"], "wb") { |file| IO.copy_stream(input, file) }
      end
      [200, { "content-type" => "text/plain" }, ["done"]]
    }
  RUBY

  def test_files_arrive_whole_while_pages_are_served
    spawn_server "-w", "2", "-t", "5:5", app: file("files.ru", APP)
    2.times { |index| server.wait_for_log(/Worker #{index} .*booted/) }
    files = random_files
    upload_beside_pages(files, "/") do |path|
      ["--limit-rate", "25M", "--upload-file", path, url("/?#{path}.copy")]
    end
    files.each { |path| assert_equal Digest::SHA256.file(path), Digest::SHA256.file("#{path}.copy"), path }
  end
end
