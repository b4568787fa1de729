# frozen_string_literal: true

require "etc"
require "fileutils"
require "rbconfig"
require "tmpdir"
require_relative "../../../test/helpers/certificates"
require_relative "../../../test/helpers/server_process"

# The rserve that the greedy clients go for: five threads in each process that serves, and what the first one uses.
class Victim
  APP = <<~'RUBY'
    large = ["l" * 10_000_000]
    small = ["small"]
    endless = Class.new { def each = loop { yield "s" * 65_536 } }.new
    bodies = { "/large" => large, "/endless" => endless }
    run lambda { |env|
      input = env["rack.input"]
      buffer = +""
      nil while input&.read(65_536, buffer)
      [200, { "content-type" => "text/plain" }, bodies.fetch(env["PATH_INFO"], small)]
    }
  RUBY
  GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

  # @param config [String] lines of its config file
  # @param descriptors [Integer] how many it may have
  # @param tls [Boolean] whether it speaks TLS
  # @param control [Boolean] whether its control server is there, with TLS
  # @yieldparam victim [Victim]
  def self.open(...)
    victim = new(...)
    yield victim
  ensure
    victim&.stop
  end

  def initialize(config: "", descriptors: 10_000, tls: false, control: false)
    @folder = Dir.mktmpdir("rserve-starvation")
    @certificates = Certificates.new(@folder) if tls || control
    @tls = tls
    app = write("app.ru", APP)
    config += "\n#{activate_control}" if control
    settings = write("config.rb", "#{config}\nthreads 5, 5\n")
    port = free_port
    @server = ServerProcess.new(["sh", "-c", "ulimit -n #{descriptors}; exec \"$@\"", "sh", RbConfig.ruby, "-Ilib",
                                 "gem/exe/rserve", "-b", url(port), "-e", "production", "-C", settings, app], port:)
    @server.wait_for_log(/Ctrl-C/)
  end

  def stop
    @server&.stop
    FileUtils.rm_rf(@folder)
  end

  # @return [IO] with TLS on it if the server speaks that
  def connect
    @tls ? handshake(connect_bare) : connect_bare
  end

  # A cluster's is there a moment later than its workers.
  def connect_control
    @server.wait_until("its control server is there", 10) do
      TCPSocket.new(ServerProcess::HOST, @control_port)
    rescue Errno::ECONNREFUSED
      nil
    end
  end

  def connect_bare = @server.connect
  def connect_many(count) = Array.new(count) { connect }

  # Replaces the certificate's files.
  #
  # @return [Integer] the new one's serial number
  def renew_certificate = OpenSSL::X509::Certificate.new(File.read(issue_certificate.first)).serial.to_i

  # @return [Integer] how many lines of its log since `mark` match
  def log_lines(pattern, mark) = @server.log.byteslice(mark..).lines.grep(pattern).size
  def mark = @server.mark

  # @return [GoodTraffic::Outcome] of requests that are made while the block runs
  def beside_good_traffic(&) = GoodTraffic.beside(method(:connect), &)

  # @return [Float] seconds until TERM has ended it
  def seconds_to_end
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    @server.signal(:TERM)
    @server.wait_exit(timeout: 60)
    Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
  end

  # Has `count` requests answered, a hundred at a time on one connection.
  def serve(count)
    socket = connect
    socket.write(GET)
    size = socket.readpartial(4096).bytesize
    (count / 100).times do
      socket.write(GET * 100)
      left = size * 100
      left -= socket.readpartial([left, 65_536].min).bytesize while left.positive?
    end
  ensure
    socket&.close
  end

  # A server's first requests make it grow, and only they.
  def warm_up = serve(2000)

  # Connections that were just closed are counted for a moment.
  def settle(wanted)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 3
    sleep 0.05 while descriptors > wanted && Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
  end

  # @return [Integer] kilobytes
  def resident = File.read("/proc/#{@server.pid}/status")[/VmRSS:\s+(\d+)/, 1].to_i
  def descriptors = Dir.children("/proc/#{@server.pid}/fd").size

  # @return [Integer] octets of files that have no name, in which responses wait
  def stored
    Dir.children("/proc/#{@server.pid}/fd").sum do |number|
      file = File.stat("/proc/#{@server.pid}/fd/#{number}")
      file.file? && file.nlink.zero? ? file.size : 0
    rescue Errno::ENOENT
      0
    end
  end

  def processor_seconds
    ticks = File.read("/proc/#{@server.pid}/stat").split(") ").last.split.values_at(11, 12).sum(&:to_i)
    ticks / Etc.sysconf(Etc::SC_CLK_TCK).to_f
  end

  private

  def free_port = TCPServer.open(ServerProcess::HOST, 0) { |server| server.addr[1] }

  def url(port) = @tls ? tls_url(port) : "tcp://#{ServerProcess::HOST}:#{port}"

  def tls_url(port)
    cert, key = issue_certificate
    "ssl://#{ServerProcess::HOST}:#{port}?cert=#{cert}&key=#{key}"
  end

  def activate_control
    @control_port = free_port
    "activate_control_app #{tls_url(@control_port).dump}\n"
  end

  def issue_certificate = @certificates.issue("server")

  def handshake(socket)
    @context ||= OpenSSL::SSL::SSLContext.new.tap { |context| context.set_params(ca_file: @certificates.ca) }
    tls = OpenSSL::SSL::SSLSocket.new(socket, @context)
    tls.sync_close = true
    tls.hostname = "localhost"
    tls.connect
  rescue StandardError
    socket.close
    raise
  end

  def write(name, content)
    path = File.join(@folder, name)
    File.write(path, content)
    path
  end
end
