# frozen_string_literal: true

require_relative "../helpers/server_case"

# What an operator's own blocks may do to the server that calls them: nothing.
class HooksTest < ServerCase
  parallelize_me!

  # Not only what `rescue` without a name takes.
  FAULTS = { "require 'no/such/library'" => "(LoadError) cannot load such file",
             "raise Exception, 'boom'" => "(Exception) boom" }.freeze

  WORKERS_HOOKS = %w[
    before_fork before_worker_fork after_worker_fork before_worker_boot before_worker_shutdown after_worker_shutdown
  ].freeze
  EVENTS = { "on_booted" => "after_booted", "on_stopped" => "after_stopped" }.freeze
  THREADS_HOOKS = %w[on_thread_start on_thread_exit out_of_band].freeze

  def test_a_hook_of_the_workers_that_raises_is_a_line
    FAULTS.each do |code, line|
      lines = WORKERS_HOOKS.to_h { |hook| [hook, line] }
      assert_lines(lines, "-w", "1", config: hooks(WORKERS_HOOKS, code))
    end
  end

  def test_an_event_whose_block_raises_is_a_line
    [[], %w[-w 1], %w[-w 1 --preload]].each do |mode|
      FAULTS.each do |code, line|
        lines = EVENTS.values.to_h { |event| [event, line] }
        assert_lines(lines, *mode, config: hooks(EVENTS.keys, code))
      end
    end
  end

  def test_a_hook_of_a_thread_that_raises_is_a_line
    FAULTS.each do |code, line|
      lines = { "before_thread_start" => line, "before_thread_exit" => line, "out_of_band" => line }
      assert_lines(lines, config: hooks(THREADS_HOOKS, code))
    end
  end

  def test_a_restart_goes_on_whatever_its_hook_and_its_event_do
    [[], %w[-w 1], %w[-w 1 --preload]].each do |mode|
      config = "#{hooks(%w[on_restart], "raise Exception, 'boom'")}\n@config.events.before_restart { raise 'event' }"
      spawn_server(*mode, config:)
      hot_restart
      assert_serving
      assert_log(/WARNING hook on_restart failed with exception \(Exception\) boom\n/)
      assert_log(/WARNING hook before_restart failed with exception \(RuntimeError\) event\n/)
    end
  end

  private

  def hooks(names, code) = names.map { |name| "#{name} { |*| #{code} }" }.join("\n")

  def assert_lines(lines, *mode, config:)
    spawn_server(*mode, config:)
    assert_serving
    lines.keys.grep_v(/shutdown|exit|stopped/).each { |hook| server.wait_for_log(/hook #{hook} failed/) }
    assert server.stop
    assert_equal 0, server.status.exitstatus, server.log
    missing = lines.reject { |hook, line| server.log.include?("WARNING hook #{hook} failed with exception #{line}") }
    assert_empty missing, server.log
    refute_match(/\.rb:\d+:in/, server.log)
  end
end
