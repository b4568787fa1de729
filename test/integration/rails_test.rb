# frozen_string_literal: true

require_relative "../helpers/rails_case"

# Starting a Rails app, and what of it changes while it runs.
class RailsTest < RailsCase
  def test_rails_server
    rails_server "-u", NAME
    check_the_app
    server.signal(:INT)
    assert_exits 0
  end

  def test_rails_server_finds_it_without_being_told
    rails_server
    assert_log(/Booting Puma/)
    check_the_app
    skip "it is the server that is tested" if TestServer::PUMA
    assert_log(/^\* rserve version: #{Regexp.escape(Rserve::VERSION)} .* as Puma 6\.6\.0$/)
    refute_log(/Puma version|WARNING/)
    assert_match(/\Arserve #{Regexp.escape(Rserve::VERSION)} as Puma 6\.6\.0 \(tcp:/, title)
  end

  def test_rails_server_says_which_one_serves_where_the_gemfile_has_both
    skip "no puma gem here" unless Bundles.installed?("puma")
    skip "it is the server that is tested" if TestServer::PUMA
    File.write(File.join(app, "config.ru"), "\nRails.application.load_server\n", mode: "a") # as `rails new` does
    app_env(["gem 'puma'"])
    rails_server
    assert_log(/^rserve: The Gemfile has rserve and puma \S+: Puma serves\. Take gem "puma" out/)
    refute_log(/rserve version/)
    assert_equal 200, get("/").status # Puma says Ctrl-C before it takes it
    assert server.stop, "its pid file is in the way of another one"
    rails_server "-u", "rserve"
    assert_log(/^! WARNING: The Gemfile has rserve and puma \S+: rserve serves, but a plain `bin.rails server` starts/)
    refute_log(/Puma serves/)
    check_the_app
  end

  def test_the_executable_in_the_app
    spawn_app
    check_the_app
  end

  def test_the_console_starts_no_server
    output, status = Open3.capture2e(app_env, RbConfig.ruby, "bin/rails", "console",
                                     chdir: app, stdin_data: "puts 6 * Note.count\n")
    assert status.success?, output
    assert_match(/^0$/, output)
    refute_match(/Listening|starting/, output)
  end

  def test_code_is_loaded_anew_in_development
    controller = File.join(app, "app/controllers/greetings_controller.rb")
    code = File.read(controller)
    # Rails goes by the newest time among all files, and by none that is yet to come.
    Dir[File.join(app, "**/*")].each { |path| age(path, 400) }
    spawn_app environment: "development"
    assert_equal "Hello from Rails, visit 1", get("/").body
    edit(controller, code.sub("Hello from", "Good morning,"), 300)
    assert_equal "Good morning, Rails, visit 1", get("/").body
    edit(controller, "class GreetingsController < (", 200)
    response = get("/")
    assert_equal 500, response.status
    assert_includes response.body, "SyntaxError"
    edit(controller, code, 100)
    assert_equal "Hello from Rails, visit 1", get("/").body
  end

  def test_restart_by_touching_a_file
    spawn_app
    assert_serving "Hello from Rails, visit 1"
    mark = server.mark
    FileUtils.mkdir_p(File.join(app, "tmp"))
    FileUtils.touch(File.join(app, "tmp/restart.txt"))
    server.wait_for_log(/Restarting.*Ctrl-C/m, after: mark)
    check_the_app
  end

  # One that Rails' own executor has told of already, and one that has not come by it.
  def test_whoever_collects_errors_by_rails_is_told_once_of_each
    FileUtils.mkdir_p(File.join(app, "config/initializers"))
    File.write(File.join(app, "config/initializers/errors.rb"), <<~'RUBY')
      raises = Class.new do
        def initialize(app, path) = (@app, @path = app, path)
        def call(env) = env["PATH_INFO"] == @path ? raise("of #{@path}") : @app.call(env)
      end
      Rails.application.config.middleware.insert_before 0, raises, "/above"
      Rails.application.config.middleware.insert_after ActionDispatch::Executor, raises, "/below"
      subscriber = Class.new do
        def report(error, handled:, source: nil, **) = warn("told #{error.message} #{handled} #{source}")
      end
      Rails.error.subscribe(subscriber.new) if Rails.respond_to?(:error)
      warn "this is Rails #{Rails.version}"
    RUBY
    spawn_app
    %w[/above /below].each { |path| assert_equal 500, get(path).status }
    rails = Gem::Version.new(server.log[/^this is Rails (\S+)$/, 1])
    skip "Rails #{rails} takes no source" if rails < Gem::Version.new("7.1")

    told = ["of /above false rserve", "of /below false application.action_dispatch"]
    server.wait_until("both are told", 20) { server.log.scan(/^told (.*)$/).size >= told.size }
    assert_equal told, server.log.scan(/^told (.*)$/).flatten.sort
  end

  private

  def title = File.read("/proc/#{server.pid}/cmdline").delete("\0").strip

  def edit(path, content, seconds_ago)
    File.write(path, content)
    age(path, seconds_ago)
  end

  def age(path, seconds)
    time = Time.now - seconds
    File.utime(time, time, path)
  end

  def check_the_app
    first = visit("/")
    assert_equal "Hello from Rails, visit 1", first.body
    assert_equal "Hello from Rails, visit 2", visit("/", cookie: first.cookie).body
    body = { text: "über" }.to_json
    response = request("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
                       "Content-Length: #{body.bytesize}\r\n\r\n#{body}")
    assert_equal "über", response.body.force_encoding("UTF-8")
  end
end
