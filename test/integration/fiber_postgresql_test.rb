# frozen_string_literal: true

require_relative "../helpers/fiber_case"
require_relative "../helpers/postgresql"

# Fibers that wait for a real PostgreSQL by the gem pg.
class FiberPostgresqlTest < FiberCase
  APP = <<~'RUBY'
    require "pg"
    MARKS = ENV.fetch("MARKS")

    def connect
      connection = PG.connect(**DATABASE)
      yield connection
    ensure
      connection&.finish
    end

    def mark = File.write(MARKS, ".", mode: "a")

    WAYS = {
      # Waits for who has the lock.
      "lock" => lambda {
        connect { |it| mark; it.exec_params("select pg_advisory_lock_shared(1), $1::text", ["had it"]).getvalue(0, 1) }
      },
      "notify" => lambda {
        connect do |it|
          it.exec("listen news")
          mark
          told = nil
          it.wait_for_notify { |_, _, news| told = news }
          told
        end
      },
      "many" => -> { connect { |it| it.exec("select repeat('m', 1000) from generate_series(1, 5000)").values.join.size } },
      "error" => -> { connect { |it| it.exec("select 1 / 0") } },
      "transaction" => lambda {
        connect { |it| it.transaction { it.exec("select pg_sleep(0.01)"); it.exec("select 'done'").getvalue(0, 0) } }
      }
    }.freeze

    run lambda { |env|
      case what = env["PATH_INFO"].delete_prefix("/")
      when %r{\Aai/} then next [200, {}, [WAYS.fetch(what.delete_prefix("ai/")).call.to_s]]
      when "take" then (HOLDER = PG.connect(**DATABASE)).exec("select pg_advisory_lock(1)")
      when "give" then HOLDER.exec("select pg_advisory_unlock(1)")
      when "tell" then connect { |it| it.exec("notify news, 'it happened'") }
      end
      [200, {}, [Puma.stats_hash[:fibers].to_s]]
    }
  RUBY

  def setup
    super
    skip "not here: pg" unless there?("pg")
    skip "not here: PostgreSQL" unless Postgresql.there?
    @database = Postgresql.new
  end

  # What still waits for the database waits no more.
  def teardown
    @database&.stop
    super
  end

  def test_a_query_waits_as_a_fiber
    serve
    get("/take")
    waiting = ask_for(20, "/ai/lock")
    assert_equal "20", get("/").body
    assert_equal ["done"] * 5, bodies(Array.new(5) { ask("/ai/transaction") }), "others go on"
    get("/give")
    assert_equal ["had it"] * 20, bodies(waiting)
  end

  def test_events_of_the_database
    serve
    listening = ask_for(20, "/ai/notify")
    get("/tell")
    assert_equal ["it happened"] * 20, bodies(listening)
  end

  def test_results_and_errors
    serve
    assert_equal ["5000000"] * 4, bodies(Array.new(4) { ask("/ai/many") })
    assert_equal 500, ask("/ai/error").receive.status
    assert_log(/PG::DivisionByZero/)
    assert_equal "done", bodies([ask("/ai/transaction")]).first
  end

  private

  def serve = start(app: APP, before: "DATABASE = #{@database.words.inspect}\n")

  # So many that wait.
  def ask_for(count, path)
    waiting = Array.new(count) { ask(path) }
    server.wait_until("they wait", 30) { marks == count }
    waiting
  end
end
