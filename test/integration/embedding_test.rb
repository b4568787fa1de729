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

  def test_a_server_can_be_started_and_stopped_many_times
    name = TestServer::PUMA ? "puma" : "rserve"
    start_process([RbConfig.ruby, "-Ilib", file("embed.rb", SCRIPT), name], chdir: TestServer::ROOT, wait: false)
    assert_exits 0
    assert_log(/^0 threads more/)
  end
end
