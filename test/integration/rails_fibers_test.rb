# frozen_string_literal: true

require_relative "../helpers/fiber_case"
require_relative "../helpers/rails_case"
require_relative "../helpers/web_socket"

# Rails whose requests wait in fibers (`fiber_routes`).
class RailsFibersTest < RailsCase
  # Fibers at most, fewer than the pool of database connections.
  MAX = 32

  def setup
    super
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    skip "not here: async 2" unless FiberCase.async?
    skip "Rails knows nothing of fibers before 7.1" if Bundles.version("railties") < Gem::Version.new("7.1")
  end

  def test_what_the_application_lacks_is_told_at_its_start
    start(max: 100, isolation: nil, arguments: %w[-w 2])
    assert_log(/! WARNING: fiber_routes: requests whose fibers share a thread share .*isolation_level = :fiber$/)
    assert_log(/! WARNING: fiber_routes: 100 fibers may want a database connection .* the pool has 40; set max: 40,/)
    assert_equal 2, server.log.scan("WARNING").size, "once"
  end

  def test_pages_in_fibers
    start
    refute_log(/WARNING/)
    at_once(20) { |number| assert_equal 200, note("number #{number}") }
    assert_equal Array.new(20) { |number| "number #{number}" }.sort, notes.sort
    at_once(40) { submit("/count", {}, accept: "application/json") }
    assert_equal "41", submit("/count", {}, accept: "application/json").body
    assert_includes visit("/notes").body, "number 1"
    assert_equal 500, visit("/raise").status
  end

  def test_action_cable_in_fibers
    start
    clients = Array.new(20) { CableClient.new(server.connect, "NotesChannel") }
    clients.first.perform("say", { body: "hello" })
    assert_equal(["hello"], clients.map { |client| client.receive["body"] }.uniq)
  ensure
    clients&.each(&:close)
  end

  private

  def gems = super + %w[async]

  def start(max: MAX, isolation: "fiber", arguments: [])
    File.write(File.join(app, "config/puma.rb"), "rserve { fiber_routes \"/*\", max: #{max} }\n", mode: "a")
    spawn_app(*arguments, env: { "ISOLATION_LEVEL" => isolation })
  end

  def note(body) = submit_json("/notes", { "note[body]" => body }).status
  def at_once(count, &) = Array.new(count) { |number| Thread.new(number, &) }.each(&:join)
end
