# frozen_string_literal: true

require "time"
require_relative "../helper"
require "rserve/control/figures"
require "rserve/control/threads"
require "rserve/control/top"
require "rserve/control/words"

# What the control client makes of a server's statistics.
class ControlFiguresTest < Minitest::Test
  Figures = Rserve::Control::Figures
  Words = Rserve::Control::Words

  LOAD = { backlog: 3, running: 5, pool_capacity: 3, max_threads: 5, requests_count: 70 }.freeze
  START = "2026-01-01T00:00:00Z"
  NOW = Time.iso8601("2026-01-01T02:05:09Z")

  def test_cluster
    figures = cluster({ index: 0, pid: 7, last_status: LOAD.merge(busy_threads: 1) },
                      { index: 1, pid: 8, booted: false, last_status: {} })
    totals = %i[backlog busy threads requests].map { |name| figures.total(name) }
    assert_equal [3, 1, 5, 70], totals
    assert_equal [
      "cluster of 2 workers, 1 of them booted, phase 4, up 2 h 5 min:",
      "  worker 0, pid 7, phase 4: 1 of 5 threads busy, 3 requests waiting, 70 served; reported 2 s ago",
      "  worker 1, pid 8, phase 4: booting"
    ], Words.status(figures, NOW)
  end

  def test_single_mode_of_a_server_that_does_not_count_busy_threads
    figures = Figures.parse(JSON.generate(LOAD.merge(started_at: START)), pid: 9)
    refute_predicate figures, :cluster?
    assert_equal 9, figures.workers.first.pid
    assert_equal ["single mode, up 2 h 5 min: 2 of 5 threads busy, 3 requests waiting, 70 served"],
                 Words.status(figures, NOW)
  end

  def test_connections_that_nobody_has_accepted
    { 0 => "", 1 => ", 1 connection not accepted yet", 20 => ", 20 connections not accepted yet" }.each do |n, text|
      figures = Figures.parse(JSON.generate(LOAD.merge(started_at: START, accept_queue: n, accept_queue_limit: 1024)))
      assert_equal "single mode, up 2 h 5 min#{text}", Words.mode(figures, NOW)
    end
  end

  def test_what_is_no_statistics_is_said_so
    ["", "{}", "[]", "null", '{"started_at":"soon"}'].each do |json|
      assert_raises(Rserve::ControlRequest::Failure, json) { Figures.parse(json) }
    end
  end

  def test_durations
    { -5 => "0 s", 0.9 => "0 s", 59 => "59 s", 60 => "1 min", 3601 => "1 h 1 s", 90_061 => "1 d 1 h" }
      .each { |seconds, text| assert_equal text, Words.duration(seconds) }
  end

  def test_rate_is_that_between_two_reports
    rates = Rserve::Control::Top::Rates.new
    at = ->(requests, checked_in) { Figures::Worker.new(index: 0, pid: 7, requests:, checked_in:) }
    assert_nil rates.take(at.call(100, 1), 10.0)
    assert_nil rates.take(at.call(100, 1), 11.0), "the same report again"
    assert_in_delta 20.0, rates.take(at.call(200, 6), 15.0)
    assert_in_delta 20.0, rates.take(at.call(200, 6), 16.0), 0.001, "until the next one"
    assert_in_delta 0.0, rates.take(at.call(200, 11), 20.0)
    assert_nil rates.take(at.call(5, 16), 25.0), "it was restarted"
  end

  def test_threads_and_what_they_wait_for
    thread = { worker: 0, pid: 7, thread: 1, state: "io", method: "GET", path: "/a", seconds: 1.25, requests_served: 3 }
    spent = ->(*times) { { **%i[running_seconds gvl_wait_seconds io_wait_seconds].zip(times).to_h } }
    told = { workers: [spent.call(1.0, 2.0, 0.5), spent.call(0.5, 0.0, 0.0)], threads: [thread, thread.slice(:worker)] }
    threads = Rserve::Control::Threads.parse(JSON.generate(told))
    assert_equal "     0       7      1 io          1.250       3  GET /a", threads.lines[1]
    assert_match(/\A     0 +- +-\z/, threads.lines[2])
    assert_equal 1, threads.busy.size
    assert_in_delta 0.5, threads.spent.gvl_share
    assert_in_delta 0.0, threads.spent.since(Rserve::Control::Threads::Spent.new(1.0, 2.0, 0.0)).gvl_share
    assert_nil threads.spent.since(threads.spent).gvl_share
    assert_nil Rserve::Control::Threads.parse('{"workers":[{"worker":0}],"threads":[]}').spent
    ["", "{}", "[]", '{"threads":1}'].each do |json|
      assert_raises(Rserve::ControlRequest::Failure, json) { Rserve::Control::Threads.parse(json) }
    end
  end

  private

  def cluster(*workers)
    defaults = { phase: 4, booted: true, started_at: START, last_checkin: "2026-01-01T02:05:07Z" }
    Figures.parse(JSON.generate({ started_at: START, workers: workers.size, phase: 4,
                                  worker_status: workers.map { |worker| defaults.merge(worker) } }))
  end
end
