# frozen_string_literal: true

require_relative "../helpers/client_load"
require_relative "../helpers/server_case"

# `gc :out_of_band`: full collections of garbage are made between requests.
class GcOutOfBandTest < ServerCase
  parallelize_me!

  # Each request replaces a part of what the application keeps, so that old objects become garbage; and tells how many
  # full collections there were in requests, and altogether.
  APP = <<~'RUBY'
    $kept = Array.new(20)
    $served = $within = 0
    mutex = Mutex.new
    run lambda { |env|
      before = GC.stat(:major_gc_count)
      sleep 0.01 until env["PATH_INFO"] != "/wait" || File.exist?(ENV.fetch("GATE"))
      mutex.synchronize { $kept[($served += 1) % 20] = Array.new(3000) { +"kept" } } if env["PATH_INFO"] == "/"
      5000.times { +"garbage" } if env["PATH_INFO"] == "/"
      after = GC.stat(:major_gc_count)
      $within += after - before unless env["PATH_INFO"] == "/wait"
      [200, {}, ["#{$within} #{after} #{Process.pid}"]]
    }
  RUBY

  def setup
    super
    @gate = File.join(folder, "gate")
  end

  def test_requests_have_them_unless_asked_otherwise
    serve "-t", "1:1", words: nil
    within, all = ask(400)
    assert_operator within, :>=, 2
    assert_operator all, :>=, 2
  end

  def test_a_server_on_its_own_makes_them_when_nobody_waits
    skip_unless_it_waits
    serve "-t", "1:1"
    _, before = ask(1)
    within, all = ask(400)
    assert_operator all - before, :>=, 2
    assert_equal 0, within
    assert_operator collections, :>=, 2
  end

  def test_workers_leave_their_clients_to_each_other_meanwhile
    skip_unless_it_waits
    serve "-w", "2", "-t", "2:2", "--preload"
    load = ClientLoad.new(server, keep_alive: 3, fresh: 1, pause: 0.001)
    server.wait_until("both have made some", 60) { collections >= 8 }
    counts = load.stop
    assert_equal ["answered"], counts.keys, counts.inspect
    # One that has waited for long enough is made beside a request: on a busy machine there is always one.
    within, all = ask(20, keep: false)
    assert_operator within * 2, :<=, all
  end

  # Its request has to be served on, and memory is not to grow without a bound.
  def test_they_are_not_put_off_for_ever
    skip_unless_it_waits
    serve "-t", "2:2"
    server.exchange("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") do |reader|
      deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + Patience.for(60)
      ask(20) until collections.positive? || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      assert_operator collections, :>, 0
      File.write(@gate, "")
      assert_equal 200, reader.receive.status
    end
  end

  def test_a_ruby_that_does_not_tell_is_named
    skip "this one does" if told?
    serve "-w", "2", "--preload"
    assert_log(/! gc :out_of_band: no effect before Ruby 3\.3/)
  end

  def test_what_it_is_asked_to_be_is_checked
    spawn_server config: "rserve { gc :never }\n", wait: false
    assert_exits 1
    assert_log(/gc must be :out_of_band or :in_band, not :never/)
  end

  private

  def serve(*arguments, words: "gc :out_of_band; ")
    @operator = UniquePort.call
    spawn_server(*arguments, app: file("app.ru", APP), env: { "GATE" => @gate },
                             config: "rserve { #{words}health_bind 'tcp://127.0.0.1:#{@operator}' }\n")
    2.times { |index| assert_log(/Worker #{index} \(PID: \d+\) booted/) } if arguments.include?("-w")
  end

  # @return [Array(Integer, Integer)] full collections in requests, and all of them, of the process that was asked last
  def ask(times, keep: true)
    return Array.new(times) { get("/").body.split.map(&:to_i) }.last.first(2) unless keep

    server.exchange("") do |reader, socket|
      times.times do
        socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        @last = reader.receive.body.split.map(&:to_i)
      end
    end
    @last.first(2)
  end

  def collections
    TCPSocket.open("127.0.0.1", @operator) do |socket|
      socket.write("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      ResponseReader.new(socket).receive(timeout: 20).body[/^rserve_gc_out_of_band_seconds_count (\d+)/, 1].to_i
    end
  end

  def told?
    GC.latest_gc_info(:need_major_by)
    true
  rescue ArgumentError
    false
  end

  # Before Ruby 3.4 one that is due may come in the same request: how many do is chance.
  def skip_unless_it_waits = GC.respond_to?(:config) || skip("Ruby makes them itself")
end
