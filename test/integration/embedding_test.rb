# frozen_string_literal: true

require_relative "../helpers/server_case"

# The server as a library: started and stopped many times in one process, as test suites and Capybara do.
class EmbeddingTest < ServerCase
  SCRIPT = <<~'RUBY'
    require ARGV[0]
    require "#{ARGV[0]}/server"
    require "net/http"

    server_class = Object.const_get(ARGV[0].capitalize)::Server
    threads = nil
    30.times do |round|
      server = server_class.new(->(env) { [200, {}, ["round #{round}"]] })
      port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
      server.run
      body = Net::HTTP.get(URI("http://127.0.0.1:#{port}/"))
      abort "wrong answer #{body.inspect}" unless body == "round #{round}"
      server.stop(true)
      threads ||= Thread.list.size # net/http's own thread for time-outs is there from the first request on
    end
    puts "#{Thread.list.size - threads} threads more after 30 rounds than after one"
  RUBY

  # Puma's own tests compare responses by the octet, and want 400 for a path that is too long.
  LETTERS = <<~'RUBY'
    require "puma"
    require "puma/server"
    require "socket"

    server = Puma::Server.new(->(_env) { [200, {}, ["a"]] }, nil, {})
    port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
    server.run
    ["/", "/#{"p" * 9000}"].each do |target|
      TCPSocket.open("127.0.0.1", port) do |socket|
        socket.write("GET #{target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        puts "answered #{socket.read.lines(chomp: true).grep_v(/^Connection/).first(2).join(", ")}"
      end
    end
    server.stop(true)
  RUBY

  # A kept connection waits, and so does half of a request.
  TIMEOUTS = <<~'RUBY'
    require ARGV[0]
    require "#{ARGV[0]}/server"
    require "socket"

    %i[first_data_timeout persistent_timeout write_timeout idle_timeout].product([Float::INFINITY, 1e300, 10**30, 2**64, 2**62])
      .each do |name, forever|
      server = Object.const_get(ARGV[0].capitalize)::Server.new(->(_env) { [200, {}, ["a"]] }, nil, { name => forever })
      port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
      server.run
      answers = TCPSocket.open("127.0.0.1", port) do |socket|
        Array.new(2) do
          socket.write("GET / HTTP/1.1\r\n")
          TCPSocket.open("127.0.0.1", port) do |other|
            other.write("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            other.read
          end
          socket.write("Host: h\r\n\r\n")
          socket.gets("\r\n\r\na").to_s[/.*/].chomp
        end
      rescue SystemCallError => e
        e.class
      end
      puts "#{name} #{forever}: #{answers}" unless answers == ["HTTP/1.1 200 OK"] * 2
      server.stop(true)
    end
    puts "asked each"
  RUBY

  CALLBACKS = <<~'RUBY'
    require ARGV[0]
    require "#{ARGV[0]}/server"
    require "net/http"

    seen = Queue.new
    app = lambda do |env|
      env["rack.after_reply"] << -> { seen << "after reply" }
      (env["rack.response_finished"] ||= []).concat(
        %w[first last].map do |name|
          ->(same, status, headers, error) { seen << [name, same.equal?(env), status, headers, error.inspect] }
        end
      )
      raise "oh" if env["PATH_INFO"] == "/raise"

      [204, { "x-a" => "1" }, []]
    end
    server = Object.const_get(ARGV[0].capitalize)::Server.new(app, nil, environment: "production")
    port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
    server.run
    %w[/ /raise].each do |path|
      Net::HTTP.get(URI("http://127.0.0.1:#{port}#{path}"))
      3.times { p seen.pop }
    end
    server.stop(true)
  RUBY

  # Clients that are served, that wait for a thread, and that have said nothing; then who asks for the port.
  HALT = <<~'RUBY'
    require "rserve"
    require "socket"

    port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
    begun, booted = IO.pipe, Queue.new
    conf = Rserve::Configuration.new do |user|
      user.bind "tcp://127.0.0.1:#{port}"
      user.threads 0, 1
      user.workers Integer(ARGV[0])
      user.app { |_env| begun.last.write("!") && sleep }
    end
    events = Rserve::Events.new
    events.on_booted { booted << true }
    launcher = Rserve::Launcher.new(conf, events:)
    running = Thread.new { launcher.run }
    booted.pop
    clients = Array.new(4) { TCPSocket.new("127.0.0.1", port) }
    clients.first(3).each { |client| client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n") }
    begun.first.getc
    launcher.halt
    running.join(20) or abort "it still runs"
    clients.each do |client|
      client.wait_readable(20) or abort "a client waits"
      puts "a client has seen the end" if client.read_nonblock(100, exception: false).nil?
    rescue Errno::ECONNRESET
      puts "a client has seen the end"
    end
    begin
      TCPSocket.new("127.0.0.1", port)
    rescue Errno::ECONNREFUSED
      puts "the port is free"
    end
    exit! 0
  RUBY

  def test_halt_leaves_neither_port_nor_clients
    skip "Puma is no concern here" if TestServer::PUMA
    [0, 2].each do |workers|
      start_process([RbConfig.ruby, "-Ilib", file("halt.rb", HALT), workers.to_s], chdir: TestServer::ROOT, wait: false)
      assert_exits 0
      assert_equal 4, server.log.scan("a client has seen the end").size
      assert_includes server.log, "the port is free"
    end
  end

  def test_callbacks_after_the_response_know_what_was_sent
    skip "Puma 7 has them" if TestServer::PUMA
    start_process([RbConfig.ruby, "-Ilib", file("callbacks.rb", CALLBACKS), "rserve"],
                  chdir: TestServer::ROOT, wait: false)
    assert_exits 0
    headers = { "x-a" => "1" }
    lines = ["after reply", ["last", true, 204, headers, "nil"], ["first", true, 204, headers, "nil"],
             "after reply", ["last", true, 500, {}, "#<RuntimeError: oh>"],
             ["first", true, 500, {}, "#<RuntimeError: oh>"]]
    assert_equal lines.map(&:inspect), server.log.lines(chomp: true).grep_v(/Rack app/)
  end

  def test_a_timeout_may_be_infinite_or_enormous
    name = TestServer::PUMA ? "puma" : "rserve"
    start_process([RbConfig.ruby, "-Ilib", file("timeouts.rb", TIMEOUTS), name], chdir: TestServer::ROOT, wait: false)
    assert_exits 0
    assert_equal "asked each", server.log.chomp
  end

  def test_answers_by_pumas_name_are_pumas_to_the_letter
    start_process([RbConfig.ruby, *("-Igem/puma/lib" unless TestServer::PUMA), file("letters.rb", LETTERS)],
                  chdir: TestServer::ROOT, wait: false)
    assert_exits 0
    assert_log(%r{^answered HTTP/1.1 200 OK, Content-Length: 1$})
    assert_log(%r{^answered HTTP/1.0 400 Bad Request, Content-Length: })
  end

  def test_a_server_can_be_started_and_stopped_many_times
    name = TestServer::PUMA ? "puma" : "rserve"
    start_process([RbConfig.ruby, "-Ilib", file("embed.rb", SCRIPT), name], chdir: TestServer::ROOT, wait: false)
    assert_exits 0
    assert_log(/^0 threads more/)
  end
end
