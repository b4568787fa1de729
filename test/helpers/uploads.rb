# frozen_string_literal: true

require "open3"

# Clients that send files, each a process of its own, and how long pages take meanwhile. UPLOAD_MB is how large each of
# the files is (5).
module Uploads
  COUNT = 20
  SIZE = Integer(ENV.fetch("UPLOAD_MB", 5)) * 1_000_000

  private

  # @return [Array<String>] paths
  def random_files
    @files = folder
    Array.new(COUNT) { |number| random_file("file-#{number}") }
  end

  def random_file(name)
    File.join(@files, name).tap do |path|
      File.open(path, "wb") { |file| (SIZE / 1_000_000).times { file.write(Random.bytes(1_000_000)) } }
    end
  end

  # @return [String] what came back. The client yields to the server, as one on another machine would.
  def curl(*arguments)
    output, errors, status = Open3.capture3("nice", "-n", "19", "curl", "--silent", "--show-error", "--fail",
                                            "--max-time", "80", *arguments)
    assert status.success?, errors
    output
  end

  def url(target) = "http://127.0.0.1:#{server.port}#{target}"

  # Sends each file on a thread of its own (the block), and asks for pages meanwhile.
  #
  # @param page [String] target
  # @return [Array] what the block returned
  def upload_beside_pages(files, page, &)
    times(page, 300) # the first are slower
    alone = p99(times(page, 600))
    uploads = files.map { |path| Thread.new(path, &) }
    beside = p99(times(page) { uploads.none?(&:alive?) })
    note_figures(alone, beside)
    # No measure of speed: how much of a processor is left for pages depends on the machine.
    assert_operator beside, :<, 10, "seconds for 99 % of the pages beside uploads"
    uploads.map(&:value)
  end

  # Seconds that each of `count` pages took, or of as many as there were until the block says that it is enough.
  def times(page, count = nil)
    times = []
    server.exchange("") do |reader, socket|
      until count ? times.size == count : yield && times.size > 100
        started = now
        socket.write("GET #{page} HTTP/1.1\r\nHost: localhost\r\n\r\n")
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
