# frozen_string_literal: true

require_relative "../helper"
require "rserve/server/binder"

class BinderTest < Minitest::Test
  def setup
    @log = Rserve::LogWriter.strings
    @binder = Rserve::Binder.new(@log)
    @folder = Dir.mktmpdir
    @path = File.join(@folder, "s.sock")
  end

  def teardown
    @binder.close_listeners
    @binder.ios.each { |io| io.close unless io.closed? }
    FileUtils.rm_rf(@folder)
  end

  def test_listeners_are_rubys_own_and_open
    @binder.parse ["tcp://127.0.0.1:0", "unix://#{@path}"]

    assert_equal [TCPServer, UNIXServer], @binder.ios.map(&:class)
    assert_match(%r{\A\* Listening on http://127\.0\.0\.1:#{@binder.connected_ports.first}\n}, @log.stdout.string)
    assert_includes @log.stdout.string, "* Listening on unix://#{@path}\n"
    TCPSocket.new("127.0.0.1", @binder.connected_ports.first).close
  end

  def test_localhost_is_every_loopback_address
    @binder.parse ["tcp://localhost:0"]

    assert_equal @binder.loopback_addresses.size, @binder.ios.size
  end

  def test_requests_on_a_unix_socket_come_from_the_loopback_address
    @binder.parse ["tcp://127.0.0.1:0", "unix://#{@path}"]

    assert_equal([nil, "127.0.0.1"], @binder.ios.map { |io| @binder.env(io)["REMOTE_ADDR"] })
  end

  def test_unix_socket_of_our_own_goes_when_the_server_does
    @binder.parse ["unix://#{@path}"]
    assert File.socket?(@path)
    @binder.close_listeners

    refute_path_exists @path
  end

  def test_path_that_was_there_before_stays
    File.write(@path, "in the way")
    @binder.parse ["unix://#{@path}"]
    @binder.close_listeners

    assert_path_exists @path
  end

  def test_path_of_a_live_server_is_left_alone
    UNIXServer.open(@path) do |live|
      error = assert_raises(RuntimeError) { @binder.parse ["unix://#{@path}"] }
      assert_operator error.message, :start_with?, "There is already a server bound to: #{@path} (pid #{Process.pid}: "
      UNIXSocket.new(@path).close
      refute_predicate live, :closed?
    end
  end

  def test_path_that_may_not_be_connected_to_is_left_alone_while_a_process_has_it_open
    skip "only root can become another user" unless Process.uid.zero?
    File.chmod(0o777, @folder)
    live = UNIXServer.new(@path)
    File.chmod(0o700, @path)
    assert_equal "There is already a server bound to: #{@path}", bound_by_nobody(live)
    live.close
    assert_equal "bound", bound_by_nobody(live)
  end

  # It hangs: it is there all the same.
  def test_path_of_a_server_that_does_not_accept_is_left_alone
    live = UNIXServer.new(@path)
    live.listen(0)
    waiting = Array.new(2) { Socket.new(:UNIX, :STREAM) }
    waiting.each { |socket| socket.connect_nonblock(Socket.sockaddr_un(@path), exception: false) rescue Errno::EAGAIN } # rubocop:disable Style/RescueModifier
    error = assert_raises(RuntimeError) { @binder.parse ["unix://#{@path}"] }
    assert_operator error.message, :start_with?, "There is already a server bound to: #{@path}"
    assert_path_exists @path
  ensure
    [live, *waiting].each { |socket| socket&.close }
  end

  def test_mode_and_umask_of_a_unix_socket
    { "" => 0o777, "?umask=0111" => 0o666, "?mode=600" => 0o600 }.each do |query, mode|
      binder = Rserve::Binder.new(@log)
      binder.parse ["unix://#{@path}#{query}"]
      assert_equal mode, File.stat(@path).mode & 0o777, query
      binder.close_listeners
    end
  end

  def test_space_in_a_path_is_written_as_in_a_url
    @binder.parse ["unix://#{@folder}/a%20b"]

    assert File.socket?(File.join(@folder, "a b"))
  end

  def test_abstract_socket_has_no_file
    name = "rserve-binder-test-#{Process.pid}"
    @binder.parse ["unix://@#{name}"]

    UNIXSocket.new("\0#{name}").close
    refute_path_exists "@#{name}"
  end

  def test_next_incarnation_inherits_listeners_and_the_duty_to_remove_their_paths
    urls = ["tcp://127.0.0.1:0", "unix://#{@path}"]
    @binder.parse urls
    env = @binder.redirects_for_restart_env
    assert_equal(@binder.ios.map(&:fileno).zip(urls).map { |fd, url| "#{fd}:#{url}" },
                 env.values_at("PUMA_INHERIT_0", "PUMA_INHERIT_1"))
    @binder.ios.each { |io| io.close_on_exec = false }

    heir = Rserve::Binder.new(@log)
    assert_equal env.keys.sort, heir.create_inherited_fds(env).sort
    heir.parse urls

    assert_equal @binder.ios.map(&:fileno), heir.ios.map(&:fileno)
    assert heir.ios.all?(&:close_on_exec?), "what the server runs must not get its listeners"
    assert_includes @log.stdout.string, "* Inherited unix://#{@path}\n"
    heir.ios.each { |io| io.autoclose = false } # both binders have the same descriptors
    heir.close_listeners
    refute_path_exists @path
    @binder.ios.each { |io| io.autoclose = false }
    @binder.listeners.clear
    @binder.ios.clear
  end

  def test_inherited_listener_that_is_no_longer_bound_is_closed
    old = TCPServer.new("127.0.0.1", 0)
    @binder.create_inherited_fds("PUMA_INHERIT_0" => "#{old.fileno}:tcp://127.0.0.1:1")
    old.autoclose = false
    @binder.parse ["tcp://127.0.0.1:0"]

    assert_raises(Errno::EBADF) { old.local_address }
    assert_includes @log.stdout.string, "* Closing unused inherited connection: tcp://127.0.0.1:1\n"
  end

  def test_sockets_of_systemd_are_for_the_process_they_were_opened_for
    assert_empty @binder.create_activated_fds({ "LISTEN_FDS" => "1", "LISTEN_PID" => "1" })
    assert_empty @binder.activated_sockets
  end

  def test_unknown_scheme_is_refused
    error = assert_raises(Rserve::ConfigError) { @binder.parse ["foo://127.0.0.1:1"] }
    assert_match(/\AInvalid URI: foo:.*can be bound/, error.message)
  end

  def test_what_the_env_of_every_request_says_follows_the_options
    { { max_threads: 1 } => ["rack.multithread", false], { workers: 2 } => ["rack.multiprocess", true],
      { rack_url_scheme: "https" } => ["rack.url_scheme", "https"] }.each do |options, (key, value)|
      binder = Rserve::Binder.new(@log, Rserve::Configuration.new(options))
      assert_equal value, binder.proto_env[key], key
    end
  end

  private

  # @return [String] what comes of binding the path by a user without rights, who has not got `live`
  def bound_by_nobody(live)
    reader, writer = IO.pipe
    pid = fork do
      live.close
      Process::Sys.setuid(65_534)
      @binder.parse ["unix://#{@path}"]
      writer.write("bound")
    rescue StandardError => e
      writer.write(e.message)
    ensure
      exit! # no test of the parent's is run here
    end
    writer.close
    reader.read
  ensure
    Process.wait(pid)
    reader.close
  end
end
