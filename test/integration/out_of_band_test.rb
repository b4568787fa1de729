# frozen_string_literal: true

require_relative "../helpers/server_case"

# What an operator has done between requests is done when there are none.
class OutOfBandTest < ServerCase
  # Each time leaves an octet, and takes its time.
  CONFIG = <<~'RUBY'
    out_of_band do
      File.write(ENV.fetch("HOOKS"), ".", mode: "a")
      sleep 0.05
    end
  RUBY

  # A request that says so waits until so many others do.
  APP = <<~'RUBY'
    run lambda { |env|
      sleep 0.001 until Puma.stats_hash[:backlog] >= env["QUERY_STRING"].to_i
      [200, {}, [File.size(ENV.fetch("HOOKS")).to_s]]
    }
  RUBY

  def test_it_waits_until_no_request_waits
    spawn_with_hooks "1:1"
    clients = [39, *[0] * 39].map { |waiting| server.connect.tap { |client| client.write(asking(waiting)) } }
    seen = clients.map { |client| ResponseReader.new(client).receive.body.to_i }
    assert_equal [1], seen.uniq, "it was done while requests waited"
    assert_done 2
  ensure
    clients&.each(&:close)
  end

  def test_pipelined_requests_wait_too
    spawn_with_hooks "3:3"
    server.exchange(asking(0) * 20) do |reader|
      assert_equal [1], Array.new(20) { reader.receive.body.to_i }.uniq
    end
    assert_done 2
  end

  private

  # And has it done for the first time.
  def spawn_with_hooks(threads)
    @hooks = file("hooks", "")
    spawn_server "-t", threads, app: file("hooks.ru", APP), config: CONFIG, env: { "HOOKS" => @hooks }
    get("/?0")
    assert_done 1
  end

  def asking(waiting) = "GET /?#{waiting} HTTP/1.1\r\nHost: localhost\r\n\r\n"

  # No more often for as long as nobody asks for anything.
  def assert_done(times)
    server.wait_until("it is done #{times} times", 10) { File.size(@hooks) >= times }
    sleep 0.2
    assert_equal times, File.size(@hooks)
  end
end
