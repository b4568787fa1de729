# frozen_string_literal: true

require "English"
require "open3"

# Clients that send files, each a process of its own, and how long pages take meanwhile. UPLOAD_MB is how large each of
# the files is (5).
module Uploads
  COUNT = 20
  SIZE = Integer(ENV.fetch("UPLOAD_MB", 5)) * 1_000_000

  # The client yields to the server, as one on another machine would.
  CURL = %w[nice -n 19 curl --silent --show-error --fail --max-time 80].freeze

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

  # @return [String] what came back
  def curl(*arguments)
    output, errors, status = Open3.capture3(*CURL, *arguments)
    assert status.success?, errors
    output
  end

  def url(target) = "http://127.0.0.1:#{server.port}#{target}"

  # Sends all files at once, and asks for pages meanwhile.
  #
  # @param page [String] target
  # @yieldparam path [String] of a file
  # @yieldreturn [Array<String>] what curl is to do with it
  # @return [Array<String>] what came back, by file
  def upload_beside_pages(files, page, &)
    times(page, 300) # the first are slower
    alone = p99(times(page, 600))
    uploads = start(files, &)
    beside = times(page) { uploads.reject! { |pid, path| ended?(pid, path) } && uploads.empty? }
    note_figures(alone, beside)
    # No measure of speed: how much of a processor is left for pages depends on the machine.
    assert_operator p99(beside), :<, 10, "seconds for 99 % of the pages beside uploads"
    files.map { |path| File.read("#{path}.out") }
  end

  # All wait until the last one is there: making a process costs the one that measures.
  #
  # @return [Array<Array>] process and file of each
  def start(files)
    reader, writer = IO.pipe
    files.map do |path|
      command = ["sh", "-c", 'read _; exec "$@"', "sh", *CURL, *yield(path)]
      [Process.spawn(*command, in: reader, out: "#{path}.out", err: "#{path}.err"), path]
    end
  ensure
    reader.close
    writer.close
  end

  def ended?(pid, path)
    return unless Process.wait(pid, Process::WNOHANG)

    assert $CHILD_STATUS.success?, File.read("#{path}.err")
    true
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
    ms = ->(seconds) { "#{(seconds * 1000).round(1)} ms" }
    figures = "p99 of a page: #{ms[alone]}, beside uploads #{ms[p99(beside)]} (#{beside.size} pages in " \
              "#{beside.sum.round(1)} s, the slowest took #{ms[beside.max]})"
    $debugging_info << "#{full_name}\n    #{figures}\n" # rubocop:disable Style/GlobalVars
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
