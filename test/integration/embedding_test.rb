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
    require ARGV[0]
    require "#{ARGV[0]}/server"
    require "socket"

    server = Object.const_get(ARGV[0].capitalize)::Server.new(->(_env) { [200, {}, ["a"]] }, nil, {})
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

  def test_answers_are_pumas_to_the_letter
    name = TestServer::PUMA ? "puma" : "rserve"
    start_process([RbConfig.ruby, "-Ilib", file("letters.rb", LETTERS), name], chdir: TestServer::ROOT, wait: false)
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
