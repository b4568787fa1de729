# frozen_string_literal: true

require_relative "../helpers/server_case"

# Applications that set traps, or become daemons, while they are loaded.
class TrapsTest < ServerCase
  parallelize_me!

  # The ways to preload: asked for, and the default from level 7 on.
  PRELOADS = { 6 => %w[--preload], 7 => [], 8 => [] }.freeze

  # Traps that end the process, and traps that only note.
  TRAPS = { "that_end" => "exit!(7)", "that_note" => "noted = true" }.freeze

  SLOW = <<~'RUBY'
    %%w[INT TERM CHLD TTIN TTOU URG].each { |name| trap(name) { %s } }
    run(lambda do |env|
      sleep Float(env["QUERY_STRING"]) unless env["QUERY_STRING"].empty?
      [200, {}, [Process.pid.to_s]]
    end)
  RUBY

  PRELOADS.each do |level, arguments|
    TRAPS.each do |kind, trap|
      define_method(:"test_a_preloaded_application_with_traps_#{kind}_disarms_no_master_at_level_#{level}") do
        { TERM: :TERM, INT: 0 }.each do |signal, status|
          spawn_server "-w", "2", "--compat", level.to_s, *arguments, app: file("config.ru", format(SLOW, trap))
          2.times { |index| server.wait_for_log(/Worker #{index} .* booted/) }
          server.signal(:TTIN)
          server.wait_for_log(/Worker 2 .* booted/)
          server.signal(:TTOU)
          # Until it has gone it may be the one that answers.
          leaving = server.wait_for_log(/Worker 2 \(PID: (\d+)\) terminating/)[1]
          server.wait_until("worker 2 is gone", 5) { !File.exist?("/proc/#{leaving}") }
          server.signal(:URG)
          server.wait_for_log(/refork called but not available/)
          Process.kill(:KILL, Integer(get("/").body))
          server.wait_until("a worker is replaced", 5) { server.log.scan(/Worker \d .* booted/).size == 4 }
          server.exchange("GET /?1 HTTP/1.1\r\nHost: x\r\n\r\n") do |reader, _|
            get("/") # the request before has arrived, too
            server.signal(signal)
            assert_equal 200, reader.receive.status
          end
          assert_exits status
        end
      end
    end
  end

  # As long as there is no master that has preloaded, traps are the application's, as with Puma.
  def test_in_single_mode_the_trap_of_the_application_has_the_signal
    spawn_server app: file("config.ru", format(SLOW, "exit!(7)"))
    server.signal(:TERM)
    assert_exits 7
  end

  DAEMONS = {
    "Process.daemon" => "Process.daemon(true, true)",
    "fork" => "exit!(0) if fork; Process.setsid",
    "two forks" => "(sleep 0.5; exit!(0)) if fork; Process.setsid; exit!(0) if fork"
  }.freeze

  # Where it is called, in which mode; and what is heard afterwards.
  DAEMONS.each do |way, code|
    {
      "config.ru" => [[], "", "#{code}\n"],
      "config.ru, preloaded" => [%w[-w 2 --preload], "", "#{code}\n"],
      "the configuration" => [[], code, ""],
      "the configuration of a cluster" => [%w[-w 2], code, ""],
      "before_fork" => [%w[-w 2], "before_fork { #{code} }", ""],
      "on_booted" => [%w[-w 2], "on_booted { #{code} }", ""]
    }.each do |where, (arguments, config, app)|
      next if way == "two forks" && where != "the configuration"

      define_method(:"test_signals_are_heard_after_#{way}_in_#{where}") do
        pidfile = File.join(folder, "server.pid")
        spawn_server(*arguments, config: "pidfile #{pidfile.dump}\n#{config}\n", wait: false,
                                 app: file("config.ru", <<~RUBY))
                                   #{app}booted = rand.to_s
                                   run ->(_) { [200, {}, [booted]] }
                                 RUBY
        assert_exits 0 # the process that was started
        first = server.wait_until("the daemon serves and says its pid", 20) { written_pid(pidfile) if answer }
        before = answer
        Process.kill(:USR2, first) # which makes another daemon of it
        daemon = server.wait_until("it restarts", 20) do
          now = written_pid(pidfile)
          now if now && now != first && ![before, nil].include?(answer)
        end
        Process.kill(:TERM, daemon)
        assert_refuses_connections
        server.wait_until("it is gone", 20) { !alive?(daemon) }
      ensure
        [first, daemon].compact.each { |pid| Process.kill(:KILL, pid) if alive?(pid) }
      end
    end
  end

  private

  def answer
    get("/").body
  rescue SystemCallError, EOFError
    nil
  end

  # @return [Integer, nil] of a process that lives and is not the one that was started
  def written_pid(path)
    pid = File.exist?(path) ? File.read(path).to_i : 0
    pid if pid.positive? && pid != server.pid && alive?(pid)
  end

  def alive?(pid)
    Process.kill(0, pid)
    !File.read("/proc/#{pid}/stat").rpartition(")").last.start_with?(" Z")
  rescue Errno::ESRCH, Errno::ENOENT
    false
  end
end
