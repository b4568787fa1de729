# frozen_string_literal: true

require "json"
require_relative "../helpers/server_case"

# What a request finds in its environment is its own.
class EnvironmentTest < ServerCase
  # Answers with what it found, then spoils it: strings are changed where they are, lists filled, entries added.
  APP = <<~'RUBY'
    require "json"

    run lambda { |env|
      found = env.transform_values { |value| [String, Array, Float].include?(value.class) ? value : value.class.name }
      found["app.frozen"] = %w[REQUEST_METHOD SERVER_PROTOCOL HTTP_VERSION].select { |key| env[key].frozen? }
      body = JSON.generate(found)
      env.each_value { |value| value << " spoilt" if value.is_a?(String) && !value.frozen? }
      env["rack.after_reply"] << -> { warn "after #{env["PATH_INFO"]}" }
      env["rack.response_finished"] << proc { warn "finished #{env["PATH_INFO"]}" }
      env["app.own"] = "x"
      env.delete("REQUEST_PATH")
      [200, {}, [body]]
    }
  RUBY

  RICH = "POST /rich?a=b HTTP/1.1\r\nHost: one.example:81\r\nX-Forwarded-Proto: https\r\nX-Own: 1\r\n" \
         "Content-Length: 2\r\n\r\nok"

  # What a request brings along, and what it must not have from the one before.
  PLAIN = {
    "GET /plain HTTP/1.1\r\n\r\n" =>
      { "SERVER_NAME" => "localhost", "SERVER_PORT" => "80", "HTTP_HOST" => nil },
    "GET /plain HTTP/1.1\r\nHost: two.example\r\n\r\n" =>
      { "SERVER_NAME" => "two.example", "SERVER_PORT" => "80", "HTTP_HOST" => "two.example" },
    "GET /plain HTTP/1.1\r\nhost: [::1]:99\r\n\r\n" =>
      { "SERVER_NAME" => "[::1]", "SERVER_PORT" => "99", "HTTP_HOST" => "[::1]:99" }
  }.freeze

  COMMON = { "REQUEST_METHOD" => "GET", "REQUEST_URI" => "/plain", "REQUEST_PATH" => "/plain", "PATH_INFO" => "/plain",
             "QUERY_STRING" => "", "REMOTE_ADDR" => "127.0.0.1", "rack.url_scheme" => "http", "HTTP_X_OWN" => nil,
             "HTTP_X_FORWARDED_PROTO" => nil, "CONTENT_LENGTH" => nil, "app.own" => nil, "app.frozen" => [],
             "rack.after_reply" => [], "rack.response_finished" => [], "puma.request_body_wait" => 0.0 }.freeze

  # How environments are made where Ruby gives out a Hash's table, and where it does not.
  WAYS = [{}, { "RSERVE_PUBLIC_API" => "1" }].freeze

  def test_nothing_of_a_request_is_in_the_next_one
    WAYS.each { |env| assert_nothing_is_left(env) }
  end

  def test_the_order_of_its_entries_is_the_same_both_ways
    app = file("keys.ru", "run ->(env) { [200, {}, [env.keys.join(' ')]] }")
    one, other = WAYS.map do |env|
      spawn_server(app:, env:)
      get("/", headers: { "X-Own" => "1" }).body
    end
    assert_equal one, other
  end

  def test_who_adds_a_callback_gets_it_called_for_the_own_request
    WAYS.each { |env| assert_own_callbacks(env) }
  end

  private

  def assert_nothing_is_left(env)
    spawn_server("-t", "1:1", app: file("spoil.ru", APP), env:)
    PLAIN.each do |octets, own|
      rich, plain = server.exchange(RICH + octets) { |reader| Array.new(2) { JSON.parse(reader.receive.body) } }
      assert_equal ["one.example", "81", "one.example:81", "https", "1"],
                   rich.values_at("SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "rack.url_scheme", "HTTP_X_OWN")
      expected = COMMON.merge(own)
      assert_equal(expected, expected.to_h { |key, _| [key, plain[key]] })
    end
  end

  def assert_own_callbacks(env)
    spawn_server("-t", "1:1", app: file("spoil.ru", APP), env:)
    server.exchange(RICH + PLAIN.keys.first) { |reader| 2.times { reader.receive } }
    assert_log(%r{finished /plain})
    lines = ["after /rich", "finished /rich", "after /plain", "finished /plain"]
    assert_equal([1, 1, 1, 1], lines.map { |line| server.log.scan(line).size })
  end
end
