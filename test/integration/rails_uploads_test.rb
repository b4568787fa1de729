# frozen_string_literal: true

require "digest"
require "open3"
require_relative "../helpers/rails_case"

# Many files at once, while pages are served. UPLOAD_MB is how large each of them is (5).
class RailsUploadsTest < RailsCase
  COUNT = 20
  SIZE = Integer(ENV.fetch("UPLOAD_MB", 5)) * 1_000_000

  def self.limit = 90 + (SIZE / 250_000)

  def test_files_arrive_whole_while_pages_are_served
    spawn_app env: { "WEB_CONCURRENCY" => "2" }
    files = Array.new(COUNT) { |number| random_file("file-#{number}") }
    times(300) # the first are slower
    alone = p99(times(600))
    uploads = files.map { |path| Thread.new { upload(path) } }
    beside = p99(times { uploads.none?(&:alive?) })
    files.zip(uploads.map(&:value)).each { |path, target| assert_same_file path, download(target) }
    note_figures(alone, beside)
    # The uploads are the app's work, too: how much of a processor is left for pages depends on the machine.
    assert_operator beside, :<, 10, "seconds for 99 % of the pages beside uploads"
  end

  private

  def random_file(name)
    File.join(@files ||= folder, name).tap do |path|
      File.open(path, "wb") { |file| (SIZE / 1_000_000).times { file.write(Random.bytes(1_000_000)) } }
    end
  end

  # @return [String] where the file is to be had
  def upload(path)
    JSON.parse(curl("-H", "Accept: application/json", "-F", "note[body]=#{File.basename(path)}",
                    "-F", "note[file]=@#{path}", url("/notes"))).fetch("file")
  end

  # @return [String] path of a file
  def download(target)
    File.join(@files, "download").tap { |path| curl("--location", "--output", path, url(target)) }
  end

  def curl(*arguments)
    output, errors, status = Open3.capture3("curl", "--silent", "--show-error", "--fail", "--max-time", "80",
                                            *arguments)
    assert status.success?, errors
    output
  end

  def url(target) = "http://127.0.0.1:#{server.port}#{target}"

  def assert_same_file(expected, actual)
    assert_equal Digest::SHA256.file(expected).hexdigest, Digest::SHA256.file(actual).hexdigest, expected
  end

  # Seconds that each of `count` pages took, or of as many as there were until the block says that it is enough.
  def times(count = nil)
    times = []
    server.exchange("") do |reader, socket|
      until count ? times.size == count : yield && times.size > 100
        started = now
        socket.write("GET /pid HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert_equal 200, reader.receive.status
        times << (now - started)
      end
    end
    times
  end

  def p99(times) = times.sort[(times.size * 0.99).floor]

  def note_figures(alone, beside)
    figures = [alone, beside].map { |seconds| "#{(seconds * 1000).round(1)} ms" }
    $debugging_info << "#{full_name}\n    p99 of a page: #{figures.join(", beside uploads ")}\n" # rubocop:disable Style/GlobalVars
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
