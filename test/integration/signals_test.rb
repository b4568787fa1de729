# frozen_string_literal: true

require_relative "../helpers/server_case"

# Signals in single mode, and the exit statuses that follow.
class SignalsTest < ServerCase
  parallelize_me!

  SLOW = "rackup/slow.ru"
  PID_AND_BOOT = <<~'RUBY'
    booted = rand
    run ->(_) { [200, {}, ["#{Process.pid} #{booted}"]] }
  RUBY

  def test_int_stops_with_status_0
    spawn_server
    server.signal(:INT)
    assert_exits 0
    assert_log(/- Gracefully stopping, waiting for requests to finish/)
    assert_log(/- Goodbye!/)
  end

  def test_term_dies_by_the_signal
    spawn_server
    server.signal(:TERM)
    assert_exits :TERM
    assert_log(/- Gracefully stopping, waiting for requests to finish/)
  end

  def test_term_can_be_an_ordinary_exit
    spawn_server config: "raise_exception_on_sigterm false"
    server.signal(:TERM)
    assert_exits 0
  end

  # By any first signal, in both modes.
  def test_a_second_ctrl_c_waits_for_nothing
    [[], %w[-w 1]].product(%i[INT TERM]).each do |mode, first|
      spawn_server(*mode, app: SLOW)
      server.exchange("GET /sleep/60 HTTP/1.1\r\nHost: localhost\r\n\r\n") do
        get("/sleep/0")
        server.signal(first)
        assert_log(/- Gracefully/)
        server.signal(:INT)
        first == :INT || mode.any? ? server.wait_exit : assert_exits(:TERM)
        assert_match(/! Cancelled waiting for (requests|workers).*- Goodbye!/m, server.log)
      end
      assert_equal 1, server.log.scan("Goodbye").size
    end
  end

  # They mean nothing to a server that is gone, and its own end goes on.
  def test_restart_and_log_signals_during_the_last_steps_change_nothing
    config = <<~RUBY
      server = Process.pid
      at_exit do
        next unless Process.pid == server
        %i[HUP USR1 USR2].each { |name| Process.kill(name, server) }
        sleep 0.1
        $stderr.puts "cleaned up"
      end
    RUBY
    [[], %w[-w 1]].product({ INT: 0, TERM: :TERM }.to_a).each do |mode, (signal, code)|
      spawn_server(*mode, config:)
      server.signal(signal)
      assert_exits code
      assert_log(/cleaned up/)
    end
  end

  def test_hup_without_log_files_stops_with_status_0
    spawn_server
    server.signal(:HUP)
    assert_exits 0
  end

  def test_hup_opens_the_log_files_anew
    log = File.join(folder, "out.log")
    spawn_server config: "stdout_redirect #{log.dump}, #{log.dump}, true\nlog_requests\n", wait: false
    server.wait_until("the server logs to its file", 20) { File.exist?(log) && File.read(log).include?("startup") }
    server.wait_until("it answers", 10) { server.get("/").status == 200 rescue false } # rubocop:disable Style/RescueModifier
    File.rename(log, "#{log}.1")
    server.signal(:HUP)
    server.wait_until("the file is there again", 10) { File.exist?(log) }
    # The new file is there before the descriptor points to it: what comes between is still logged in the old one.
    server.wait_until("requests are logged in it", 10) do
      get("/meanwhile")
      File.read(log).include?("/meanwhile")
    end
    get("/after-hup")
    server.wait_until("this one too", 10) { File.read(log).include?("/after-hup") }
    refute_includes File.read("#{log}.1"), "/after-hup"
  end

  def test_a_stop_answers_what_was_accepted_and_takes_nothing_new
    %i[INT TERM].each do |signal|
      spawn_server app: SLOW
      server.exchange("GET /sleep/1 HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader|
        get("/sleep/0")
        server.signal(signal)
        assert_refuses_connections
        assert_equal "sleep 1\n", reader.receive.body
      end
      signal == :INT ? assert_exits(0) : assert_exits(:TERM)
    end
  end

  def test_usr2_restarts_in_place
    app = file("pid.ru", PID_AND_BOOT)
    spawn_server(app:)
    before = get("/").body
    hot_restart
    after = get("/").body
    assert_equal before.split.first, after.split.first, "the process stays"
    refute_equal before, after, "the app is loaded again"
    assert_log(/\* Restarting\.\.\./)
  end

  def test_usr2_restarts_again_and_again
    spawn_server
    5.times do
      hot_restart
      assert_serving
    end
  end

  def test_a_hot_restart_answers_what_was_accepted
    spawn_server app: SLOW
    server.exchange("GET /sleep/1 HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader|
      get("/sleep/0")
      hot_restart
      assert_equal "sleep 1\n", reader.receive.body
    end
    assert_equal "sleep 0\n", get("/sleep/0").body
  end

  def test_a_hot_restart_keeps_a_unix_socket
    spawn_server unix: true
    hot_restart
    assert_serving
  end

  def test_usr1_in_single_mode_is_a_hot_restart
    spawn_server
    mark = server.mark
    server.signal(:USR1)
    server.wait_for_log(/phased-restart called but not available, restarting normally/, after: mark)
    server.wait_for_log(/Ctrl-C/, after: mark)
    assert_serving
  end

  def test_a_second_usr2_during_the_restart_does_not_kill
    spawn_server
    3.times { server.signal(:USR2) }
    server.wait_until("it is up again and serving", 20) do
      server.log.scan("Ctrl-C").size >= 2 && server.get("/").body == "Hello World"
    rescue SystemCallError, EOFError
      false
    end
    refute server.exited?
  end

  def test_pid_and_state_files_live_as_long_as_the_server
    pid_file = File.join(folder, "server.pid")
    state_file = File.join(folder, "server.state")
    spawn_server config: "pidfile #{pid_file.dump}\nstate_path #{state_file.dump}\n"
    assert_equal server.pid, Integer(File.read(pid_file))
    assert_match(/^pid: #{server.pid}$/, File.read(state_file))
    server.stop
    refute_path_exists pid_file
  end
end
