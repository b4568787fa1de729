# frozen_string_literal: true

require_relative "../helpers/server_case"
require_relative "../helpers/bundles"
require_relative "../helpers/web_socket"

# Frameworks and middleware other than Rails', as their users run them. What is not installed is skipped.
class FrameworksTest < ServerCase
  include Bundles

  SERVER = TestServer::PUMA ? "puma" : "rserve"

  SINATRA = <<~'RUBY'
    require "sinatra/base"
    require ENV.fetch("SERVER")

    class Shop < Sinatra::Base
      enable :sessions
      set :environment, :production
      set :session_secret, "s" * 64
      set :host_authorization, permitted_hosts: []

      get("/") { "visit #{session[:visits] = session[:visits].to_i + 1}" }
      get("/hello/:name") { |name| "Hello, #{name}" }
      get("/file") { send_file __FILE__, type: "text/plain" }
      get("/stream") { stream { |out| 3.times { |part| out << "part #{part}\n" } } }
      get("/halt") { halt 418, "no coffee" }
      get("/raise") { raise "on purpose" }
      post("/upload") { params["file"]["tempfile"].read.sum.to_s }
      error { "sorry" }

      run!(bind: "127.0.0.1", port: Integer(ENV.fetch("PORT"))) if app_file == $0
    end
  RUBY

  def test_sinatra
    place = app(%w[sinatra], "shop.rb" => SINATRA, "config.ru" => "require_relative 'shop'\nrun Shop\n")
    serve(place)
    check_the_shop(place)
  end

  # Sinatra looks for Puma first, and finds rserve.
  def test_sinatra_starts_its_server
    place = app(%w[sinatra] + (Bundles.installed?("rackup") ? %w[rackup] : []), "shop.rb" => SINATRA)
    port = UniquePort.call
    start_process([RbConfig.ruby, "-S", "bundle", "exec", RbConfig.ruby, "shop.rb"],
                  port:, chdir: place, env: @env.merge("PORT" => port.to_s))
    assert_log(TestServer::PUMA ? /with backup from Puma.*Puma version: /m : /rserve version: .* as Puma 6/)
    check_the_shop(place)
    server.signal(:INT)
    assert_exits 0
  end

  ECHO = <<~RUBY
    require "faye/websocket"

    run lambda { |env|
      if Faye::WebSocket.websocket?(env)
        socket = Faye::WebSocket.new(env)
        socket.on(:message) { |event| socket.send("you said " + event.data) }
        socket.on(:close) { |event| puts "closed with \#{event.code}" }
        socket.rack_response
      else
        [200, { "content-type" => "text/plain" }, ["no socket"]]
      end
    }
  RUBY

  def test_faye_websocket
    serve(app(%w[faye-websocket rack], "config.ru" => ECHO))
    assert_serving "no socket"
    sockets = Array.new(20) { WebSocket.new(server.connect, "/") }
    ["hello", "über", "long" * 20_000].each do |text|
      sockets.each { |socket| socket.send_text(text) }
      assert_equal ["you said #{text}"], sockets.map(&:receive).uniq
    end
    sockets.each(&:close)
    assert_log(/(closed with 1000\n.*){20}/m)
    assert_serving "no socket"
  end

  SLOW = <<~RUBY
    require "rack-timeout"

    use Rack::Timeout, service_timeout: 1, term_on_timeout: 1
    run lambda { |env|
      sleep 30 if env["PATH_INFO"] == "/slow"
      [200, { "content-type" => "text/plain" }, [Process.pid.to_s]]
    }
  RUBY

  # The middleware sends its own process TERM when a request took too long.
  def test_a_worker_that_ends_itself_is_replaced
    gems = %w[rack-timeout rack]
    gems << "logger" if RUBY_VERSION >= "4" # which rack-timeout 0.7 needs, and does not say so
    serve(app(gems, "config.ru" => SLOW), "-w", "1", "-t", "2:2")
    server.wait_for_log(/Worker 0 \(PID: (\d+)\) booted/)
    before = get("/").body
    mark = server.mark
    assert_equal 500, get("/slow").status
    server.wait_for_log(/Worker 0 \(PID: \d+\) booted/, after: mark)
    after = get("/").body
    refute_equal before, after
  end

  FIBERS = <<~'RUBY'
    require "async"

    run lambda { |env|
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      sums = Sync do |task|
        Array.new(20) { |number| task.async { |child| child.sleep(0.1); number } }.map(&:wait)
      end
      took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
      parts = proc do |stream|
        Sync do |task|
          Array.new(3) { |n| task.async { |child| child.sleep(0.02 * n); stream.write("#{n} ") } }.each(&:wait)
        end
        stream.write("#{sums.size} #{took < 1.5}")
        stream.close
      end
      [200, { "content-type" => "text/plain" }, parts]
    }
  RUBY

  def test_fibers_wait_together
    serve(app(%w[async rack], "config.ru" => FIBERS))
    assert_serving "0 1 2 20 true"
    bodies = Array.new(4) { Thread.new { get("/").body } }.map(&:value)
    assert_equal ["0 1 2 20 true"], bodies.uniq
  end

  private

  # A folder with these files and a Gemfile; skips the test where a gem is missing.
  def app(gems, files)
    missing = gems.reject { |name| Bundles.installed?(name) }
    skip "not here: #{missing.join(", ")}" if missing.any?
    place = folder
    files.each { |name, content| File.write(File.join(place, name), content) }
    own = TestServer::PUMA ? "gem 'puma'\n" : "gem 'rserve', path: #{TestServer::ROOT.dump}\n"
    gemfile = gems.map { |name| "gem '#{name}'\n" }.join + own
    @env = bundle(place, gemfile, task: "lock", env: { "SERVER" => SERVER })
    place
  end

  def serve(place, *arguments)
    port = UniquePort.call
    start_process([RbConfig.ruby, "-S", "bundle", "exec", SERVER, *arguments, "-b", "tcp://127.0.0.1:#{port}"],
                  port:, chdir: place, env: @env)
  end

  def check_the_shop(place)
    first = get("/")
    assert_equal "visit 1", first.body
    assert_equal "visit 2", get("/", headers: { "Cookie" => first["Set-Cookie"][/\A[^;]+/] }).body
    assert_equal "Hello, Jo", get("/hello/Jo").body
    assert_equal File.read(File.join(place, "shop.rb")), get("/file").body
    assert_equal "part 0\npart 1\npart 2\n", get("/stream").body
    assert_equal [418, "no coffee"], get("/halt").then { [_1.status, _1.body] }
    assert_equal [500, "sorry"], get("/raise").then { [_1.status, _1.body] }
    assert_equal 404, get("/nowhere").status
    check_an_upload
  end

  def check_an_upload
    content = "c" * 300_000
    body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n#{content}\r\n--b--\r\n"
    response = request("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n" \
                       "Content-Length: #{body.bytesize}\r\n\r\n#{body}")
    assert_equal content.sum.to_s, response.body
  end
end
