# frozen_string_literal: true

require_relative "../helpers/server_case"

class BootTest < ServerCase
  parallelize_me!

  def test_serves_a_rackup_file
    spawn_server app: "test/rackup/hello.ru"
    response = get("/")
    assert_equal [200, "Hello World", "11"], [response.status, response.body, response["Content-Length"]]
  end

  def test_serves_on_a_unix_socket_and_removes_it
    spawn_server unix: true
    assert_serving
    server.stop
    refute_path_exists server.path
  end

  def test_listens_on_a_port_of_every_address
    port = UniquePort.call
    spawn_server "-p", port.to_s, listen: false
    assert_log(%r{Listening on http://0\.0\.0\.0:#{port}$})
    assert_equal "Hello World", TCPSocket.open("127.0.0.1", port) { |io|
      io.write("GET / HTTP/1.0\r\n\r\n")
      ResponseReader.new(io).receive.body
    }
  end

  def test_says_who_it_is_and_where_it_listens_in_this_order
    spawn_server "-e", "production", "-t", "2:4"
    lines = [/starting in single mode/, /version: /, /Min threads: 2$/, /Max threads: 4$/, /Environment: production$/,
             /PID: #{server.pid}$/, %r{Listening on http://127\.0\.0\.1:#{server.port}$}, /Use Ctrl-C to stop$/]
    assert_match Regexp.new(lines.map(&:source).join(".*"), Regexp::MULTILINE), server.log
  end

  def test_finds_the_configuration_and_the_app_in_the_current_folder
    place = folder
    FileUtils.mkdir_p(File.join(place, "config"))
    port = UniquePort.call
    File.write(File.join(place, "config/puma.rb"), "port #{port}\ntag 'found'\n")
    File.write(File.join(place, "config.ru"), 'run ->(_) { [200, {}, ["found app"]] }')
    start_process([RbConfig.ruby, "-I#{TestServer::ROOT}/lib", TestServer.rserve], port:, chdir: place)
    assert_serving "found app"
  end

  def test_takes_the_app_from_the_configuration
    spawn_server app: nil, config: "app { |env| [200, {}, [env['rack.url_scheme']]] }"
    assert_serving "http"
  end

  def test_the_environment_is_what_the_command_line_says
    app = file("config.ru", 'run ->(_) { [200, {}, [ENV["RACK_ENV"]]] }')
    spawn_server("-e", "staging", app:)
    assert_serving "staging"
  end

  def test_starts_again_on_a_port_that_was_just_closed
    spawn_server
    first = server
    assert_serving
    first.stop
    spawn_server "-b", "tcp://127.0.0.1:#{first.port}", listen: false
    assert_match(/:#{first.port}$/, server.log)
  end
end
