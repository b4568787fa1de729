# frozen_string_literal: true

require_relative "../helpers/server_case"

# The server after much, and beside clients that are no help.
class EnduranceTest < ServerCase
  def self.limit = 180

  def test_two_hundred_thousand_requests_take_no_memory
    spawn_server "-t", "2:2"
    many_requests(20_000)
    before = resident
    many_requests(200_000)
    assert_operator resident - before, :<, 10_000_000, "octets of resident memory more"
  end

  # 300 clients that send a request an octet at a time, long apart, and 100 that do not read a response of a megabyte.
  def test_slow_clients_hold_nobody_up
    big = 'big = ["x" * 1_000_000]; run ->(env) { [200, {}, env["PATH_INFO"] == "/big" ? big : ["Hello World"]] }'
    spawn_server "-t", "2:2", app: file("big.ru", big)
    senders = Array.new(300) { server.connect }
    readers = Array.new(100) { server.connect.tap { |io| io.write("GET /big HTTP/1.1\r\nHost: a\r\n\r\n") } }
    times = Array.new(5) do |second|
      senders.each { |io| io.write("GET / HTTP/1.1\r\n"[second]) }
      hellos(100)
    end.flatten.sort
    $debugging_info << "#{full_name}\n    p50 #{ms(times[250])}, p99 #{ms(times[495])}\n" # rubocop:disable Style/GlobalVars
    # Generous, because other tests may run on this machine; the figure is for TEST_DEBUG=1. Who waits for a slow client
    # waits for first_data_timeout, which is 30 s.
    assert_operator times[495], :<, 5, "99 % of the answers beside slow clients"
  ensure
    [*senders, *readers].each(&:close)
  end

  private

  # Pipelined, a hundred at a time, so that the client costs little.
  def many_requests(count)
    batch = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    server.exchange("") do |reader, socket|
      (count / 100).times do
        socket.write(batch)
        100.times { assert_equal 200, reader.receive.status }
      end
    end
  end

  def resident = Integer(File.read("/proc/#{server.pid}/status")[/^VmRSS:\s+(\d+) kB/, 1]) * 1024

  # @return [Array<Float>] seconds that each took
  def hellos(count)
    Array.new(count) do
      started = now
      assert_equal "Hello World", get("/").body
      now - started
    end
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  def ms(seconds) = "#{(seconds * 1000).round(1)} ms"
end
