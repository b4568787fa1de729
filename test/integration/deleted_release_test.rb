# frozen_string_literal: true

require "open3"
require_relative "../helpers/bundles"
require_relative "../helpers/certificates"
require_relative "../helpers/server_case"

# A release is deleted while it serves, its gems with it: what is gone × what happens.
class DeletedReleaseTest < ServerCase
  include Bundles

  parallelize_me!

  APP = <<~'RUBY'
    run(lambda do |env|
      raise "fails" if env["PATH_INFO"] == "/raise"
      env["rack.input"].read
      [200, {}, ["#{Process.pid}"]]
    end)
  RUBY

  TOKEN = "t"

  MODES = { "cluster" => "", "preloaded" => "preload_app!", "mold" => "fork_worker",
            "logging" => "log_requests" }.freeze

  MODES.each do |mode, word|
    # rserve is a gem that is cleaned away; the application stays where it is unless it is loaded already.
    define_method(:"test_#{mode}_never_needs_the_files_of_the_gem_again") do
      serve_from_copy(word)
      FileUtils.rm_rf(@copy)
      FileUtils.rm_rf(@release) if mode == "preloaded"
      assert_equal 500, request("GET /raise HTTP/1.1\r\nHost: x\r\n\r\n").status
      assert_equal 400, request("nonsense\r\n\r\n").status
      assert_equal 200, upload.status
      assert_control "stats", /"booted_workers": ?2/
      assert_replaced("KILL") { |pids| Process.kill(:KILL, mode == "mold" ? pids.max : pids.first) }
      assert_replaced("USR1") { server.signal(:USR1) } unless mode == "preloaded"
      assert_replaced("URG") { server.signal(:URG) } if mode == "mold"
      server.signal(:TTIN)
      server.wait_until("there are three workers", 20) { workers.size == 3 }
      assert_control "thread-backtraces", /"name"/
      assert_control "gc-stats", /"count"/
      assert_control "nothing", /Unsupported action/
      server.signal(:TERM)
      assert_exits :TERM
    end
  end

  def test_tls_never_needs_the_files_of_the_gem_again
    certificates = Certificates.new(folder)
    cert, key = certificates.issue("server")
    query = "cert=#{cert}&key=#{key}&verify_mode=peer&ca=#{certificates.ca}"
    serve_from_copy("", bind: "ssl://127.0.0.1:%d?#{query}")
    FileUtils.rm_rf(@copy)
    assert_replaced("KILL") { |pids| Process.kill(:KILL, pids.first) }
    server.signal(:TERM)
    assert_exits :TERM
  end

  def test_single_mode_serves_and_stops_without_the_files_of_the_gem
    serve_from_copy("workers 0", workers: 1)
    FileUtils.rm_rf(@copy)
    assert_equal 500, request("GET /raise HTTP/1.1\r\nHost: x\r\n\r\n").status
    assert_equal 400, request("nonsense\r\n\r\n").status
    assert_equal 200, upload.status
    assert_control "stats", /"running"/
    server.signal(:TERM)
    assert_exits :TERM
  end

  # There is nothing to restart to; who supervises the server is to see that.
  def test_a_hot_restart_without_the_gem_ends_with_a_failure
    ["", "workers 0"].each do |word|
      serve_from_copy(word, workers: word.empty? ? 2 : 1)
      FileUtils.rm_rf(@copy)
      server.signal(:USR2)
      assert_exits 1
      assert_refuses_connections
    end
  end

  # It could not be entered; what serves goes on.
  def test_a_hot_restart_in_a_folder_that_is_gone_is_not_begun
    %w[0 1].each do |workers|
      place = folder
      spawn_server "-w", workers, "--dir", place, app: file("app.ru", APP)
      FileUtils.rmdir(place)
      2.times do
        mark = server.mark
        server.signal(:USR2)
        server.wait_for_log(/! Not restarted: there is no folder #{place}\n/, after: mark)
      end
      assert_equal 200, get("/").status
      FileUtils.mkdir(place)
      hot_restart
      assert_equal 200, get("/").status
    end
  end

  # The application is gone: nothing new can be booted, so what serves goes on.
  def test_a_phased_restart_into_nothing_leaves_the_workers_that_serve
    serve_from_copy("")
    FileUtils.rm_rf(@release)
    before = booted
    server.signal(:USR1)
    server.wait_for_log(/died before it had booted, next attempt in [1-9]/)
    assert_equal 1, (workers & before).size
    assert_control "stats", /"booted_workers": ?1/
    server.signal(:TERM)
    assert_exits :TERM
  end

  private

  # Serves, by a copy of the gem that may be deleted, an application in a release that may be, too.
  def serve_from_copy(word, workers: 2, bind: "tcp://127.0.0.1:%d")
    @copy = folder
    %w[lib gem/exe].each do |part|
      FileUtils.mkdir_p(File.dirname(File.join(@copy, part)))
      FileUtils.cp_r(File.join(TestServer::ROOT, part), File.join(@copy, part))
    end
    @release = folder
    File.write(File.join(@release, "config.ru"), APP)
    @control = File.join(folder, "control.sock")
    config = file("config.rb", <<~RUBY)
      workers 2
      worker_check_interval 1
      activate_control_app "unix://#{@control}", auth_token: "#{TOKEN}"
      #{word}
    RUBY
    port = UniquePort.call
    start_process([RbConfig.ruby, File.join(@copy, "gem/exe/rserve"), "-C", config, "-b", format(bind, port)],
                  port:, chdir: @release, env: unbundled.merge("PWD" => nil))
    server.wait_until("all serve", 20) { self.workers.size == workers } unless bind.start_with?("ssl")
    workers.times { |index| server.wait_for_log(/Worker #{index} .* booted/) } if bind.start_with?("ssl")
  end

  def answer
    Integer(get("/").body)
  rescue SystemCallError, EOFError
    nil
  end

  def workers = Array.new(30) { answer }.compact.uniq.sort

  def upload
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n#{"x" * 2_000_000}")
  end

  def assert_replaced(why)
    before = booted
    yield before
    server.wait_until("another worker has taken the place of one after #{why}", 20) do
      now = booted
      now.size == before.size && now != before && now.all? { |pid| alive?(pid) }
    end
  end

  # Read in the log, so that it does not matter how they are to be asked.
  def booted
    server.log.scan(/Worker (\d) \(PID: (\d+)\) booted/).to_h.values.map(&:to_i).sort
  end

  def alive?(pid)
    Process.kill(0, pid)
  rescue Errno::ESRCH
    false
  end

  def assert_control(command, pattern)
    assert_match pattern, ask_control(command)
  end

  def ask_control(command)
    UNIXSocket.open(@control) do |socket|
      socket.write("GET /#{command}?token=#{TOKEN} HTTP/1.0\r\n\r\n")
      socket.wait_readable(Patience.for(10)) or flunk "no answer to #{command}"
      socket.read
    end
  end
end
