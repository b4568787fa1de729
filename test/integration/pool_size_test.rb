# frozen_string_literal: true

require_relative "../helpers/server_case"

# How many threads a process has for its requests, and what may change that while it runs.
class PoolSizeTest < ServerCase
  parallelize_me!

  # /wait answers once /go has come; with a query it says before that it only waits.
  GATE = <<~'RUBY'
    gate = Queue.new
    run(lambda do |env|
      case env["PATH_INFO"]
      when "/wait"
        env["puma.mark_as_io_bound"].call unless env["QUERY_STRING"].empty?
        gate.pop
      when "/go" then 3.times { gate << true }
      end
      [200, {}, [Rserve.stats]]
    end)
  RUBY

  def test_a_request_that_only_waits_takes_no_thread_from_others
    [8, 6].each do |level|
      spawn_server("-t", "1:1", app: file("gate.ru", GATE), config: "puma_compat #{level}\nmax_io_threads 1")
      server.exchange("GET /wait?marked HTTP/1.1\r\nHost: localhost\r\n\r\n") do |reader|
        stats = stats_until { |figures| figures["requests_count"] >= 2 && figures["running"] == 2 }
        assert_equal 1, stats["max_threads"]
        assert_equal 1, stats["io_threads"] if level == 8
        get("/go")
        assert_equal 200, reader.receive.status
      end
      stats_until { |figures| figures["running"] == 1 }
    end
  end

  def test_no_more_than_that
    spawn_server("-t", "1:1", app: file("gate.ru", GATE), config: "puma_compat 8\nmax_io_threads 1")
    waiting = "GET /wait?marked HTTP/1.1\r\nHost: localhost\r\n\r\n"
    server.exchange(waiting) do
      stats_until { |figures| figures["io_threads"] == 1 }
      server.exchange(waiting) do
        server.exchange("GET /go HTTP/1.1\r\nHost: localhost\r\n\r\n") do |_, client|
          refute client.wait_readable(0.5), "a third thread"
          server.signal(:KILL)
        end
      end
    end
  end

  def test_hooks_of_threads_change_the_bounds
    spawn_server("-t", "1:1", app: file("gate.ru", GATE), config: <<~RUBY)
      before_thread_start { |control| control.update_thread_pool_min_max(min: 2, max: 3) if control.max_threads == 1 }
    RUBY
    stats = stats_until { |figures| figures["running"] == 2 }
    assert_equal 3, stats["max_threads"]
  end

  def test_bounds_that_make_no_sense_change_nothing
    spawn_server("-t", "1:2", app: file("gate.ru", GATE), config: <<~RUBY)
      before_thread_start { |control| control.update_thread_pool_min_max(min: 3) }
    RUBY
    assert_log(/`min' value cannot be greater than `max' value/)
    assert_equal 2, JSON.parse(get("/").body)["max_threads"]
  end

  private

  def stats_until
    server.wait_until("the pool is as it should be", 10) do
      stats = JSON.parse(get("/").body)
      stats if yield stats
    end
  end
end
