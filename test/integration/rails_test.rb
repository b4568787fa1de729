# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/bundles"

# The Rails app in test/rails, with rserve in its Gemfile as users have it.
class RailsTest < ServerCase
  include Bundles

  def setup
    super
    skip "no Rails here" unless Bundles.installed?("railties")
    @app = folder
    FileUtils.cp_r("#{TestServer::ROOT}/test/rails/.", @app)
    @name = TestServer::PUMA ? "puma" : "rserve"
    gem = TestServer::PUMA ? "" : ", path: #{TestServer::ROOT.dump}"
    @env = bundle(@app, "gem 'railties'\ngem 'actionpack'\ngem '#{@name}'#{gem}\n", task: "lock")
  end

  def test_rails_server
    port = UniquePort.call
    start_process([RbConfig.ruby, "bin/rails", "server", "-u", @name, "-b", "127.0.0.1", "-p", port.to_s],
                  port:, chdir: @app, env: @env)
    check_the_app
    server.signal(:INT)
    assert_exits 0
  end

  def test_rails_server_finds_it_without_being_told
    port = UniquePort.call
    start_process([RbConfig.ruby, "bin/rails", "server", "-b", "127.0.0.1", "-p", port.to_s],
                  port:, chdir: @app, env: @env)
    assert_log(/Booting Puma/)
    check_the_app
  end

  def test_the_executable_in_the_app
    port = UniquePort.call
    start_process([RbConfig.ruby, "-S", "bundle", "exec", @name, "-b", "tcp://127.0.0.1:#{port}", "-e", "production"],
                  port:, chdir: @app, env: @env)
    check_the_app
  end

  private

  def check_the_app
    first = get("/")
    assert_equal "Hello from Rails, visit 1", first.body
    assert_equal "Hello from Rails, visit 2", get("/", headers: { "Cookie" => first["Set-Cookie"][/\A[^;]+/] }).body
    body = { text: "über" }.to_json
    response = request("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
                       "Content-Length: #{body.bytesize}\r\n\r\n#{body}")
    assert_equal "über", response.body.force_encoding("UTF-8")
  end
end
