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

  # Sends an upload on to the server that it came to, as often as the path says.
  CHAIN = <<~'RUBY'
    require "net/http"
    run lambda { |env|
      left = env["PATH_INFO"].delete("/").to_i
      uri = URI("http://#{env["HTTP_HOST"]}/#{left - 1}")
      said = left.zero? ? "the end" : Net::HTTP.post(uri, "u" * (1_048_577), "content-type" => "text/plain").body
      [200, { "content-type" => "text/plain" }, [said]]
    }
  RUBY

  # Each has to be served while those before it are: as many as there are threads.
  def test_an_upload_that_needs_another_one_does_not_wait_for_itself
    [[1, %w[-t 2:2]], [2, %w[-t 3:3]], [1, %w[-w 2 -t 1:1]], [1, %w[-w 2 -t 2:2]], [3, %w[-w 2 -t 2:2]]]
      .each do |links, mode|
      spawn_server(*mode, app: file("chain.ru", CHAIN))
      assert_equal "the end", post_upload("/#{links}").body, "#{links} #{mode}"
    ensure
      server.stop
    end
  end

  # Answers when two have come.
  MEETING = <<~'RUBY'
    meeting = [Queue.new, Queue.new]
    run lambda { |env|
      own, other = env["PATH_INFO"] == "/0" ? meeting : meeting.reverse
      other << true
      own.pop
      [200, { "content-type" => "text/plain" }, ["met"]]
    }
  RUBY

  def test_uploads_that_wait_for_each_other_have_a_thread_each
    spawn_server "-t", "2:2", app: file("meeting.ru", MEETING)
    answers = Array.new(2) { |number| Thread.new { post_upload("/#{number}", 1_500_000).body } }.map(&:value)
    assert_equal %w[met met], answers
  end

  private

  def post_upload(path, size = 1_048_577)
    head = "POST #{path} HTTP/1.1\r\nHost: 127.0.0.1:#{server.port}\r\nContent-Length: #{size}\r\n\r\n"
    request(head + ("u" * size), timeout: 30)
  end
end
