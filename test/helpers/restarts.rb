# frozen_string_literal: true

# Restarting a server while clients use it.
module Restarts
  private

  # Hot restart; the request on an old connection makes a server go on that waits for its clients.
  def restart_server(connection, **)
    Process.kill(:USR2, @pid)
    wait_for_server_to_include("Restarting")
    begin
      connection.write("GET / HTTP/1.1\r\n\r\n")
    rescue Errno::EPIPE
      nil # answered and closed already
    end
    wait_for_server_to_boot
  end

  # @return [Array(String, String)] the replies before and after a hot restart
  def restart_server_and_listen(argv, env: {}, **)
    cli_server(argv, env:)
    connection = connect
    before = read_body(connection)
    restart_server(connection)
    [before, read_body(connect)]
  end

  def hot_restart_does_not_drop_connections(**options) = restart_does_not_drop_connections(signal: :USR2, **options)

  # Clients post on a new connection for each request while the server is restarted again and again. Every request
  # must be answered; one connection in five hundred may be refused or cut.
  #
  # @param num_threads [Integer] clients at a time
  # @param total_requests [Integer] of all clients
  # @param signal [Symbol] USR2 for hot restarts, USR1 for phased ones
  def restart_does_not_drop_connections(num_threads: 1, total_requests: 500, config: nil, unix: false, signal: :USR2,
                                        **)
    cli_server("-w #{workers || 0} -t 5:5 -q test/rackup/hello_with_delay.ru", unix:, config:)
    replies = Queue.new
    restarts = restart_until_stopped(signal, replies) do
      clients = Array.new(num_threads) { post_often(total_requests / num_threads, replies, unix) }
      clients.each(&:join)
    end
    stop_server
    @server.close
    @server = nil

    counts = Array.new(replies.size) { replies.pop }.tally
    summary = "#{restarts} restarts, #{counts.inspect}"
    $debugging_info << "#{full_name}\n    #{summary}\n" # rubocop:disable Style/GlobalVars
    asked = total_requests / num_threads * num_threads
    assert_operator restarts, :>=, 2, summary
    assert_operator counts.fetch(:success, 0), :>=, asked - (asked * 0.002).round, summary
  end

  # @return [Integer] restarts that were carried out while the block ran, the first of them after the first reply
  def restart_until_stopped(signal, replies)
    stop = false
    restarts = 0
    restarting = Thread.new do
      sleep 0.01 while replies.empty? && !stop
      until stop
        Process.kill(signal, @pid)
        restarts += 1
        wait_for_server_to_boot if signal == :USR2
        get_worker_pids(signal == :USR2 ? 0 : restarts) if (workers || 0).positive?
        # Clients get time with the new processes before the next restart, more each time.
        sleep 0.15 * (2**restarts) unless stop
      end
    end
    # A failed wait is told by `value` below, not by ending every other test.
    restarting.abort_on_exception = restarting.report_on_exception = false
    yield
    stop = true
    restarting.value
    restarts
  end

  def post_often(count, replies, unix)
    body = "A" * 16_256 # more than one read of the server's
    request = "POST / HTTP/1.1\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}"
    Thread.new { count.times { replies << post(request, unix) } }
  end

  # @return [Symbol] how it went
  def post(request, unix)
    socket = unix ? UNIXSocket.new(@bind_path) : TCPSocket.new(self.class::HOST, @tcp_port)
    socket.write(request)
    read_body(socket) == "Hello World" ? :success : :unexpected
  rescue Errno::ECONNRESET, Errno::ENOTCONN
    :reset
  rescue Timeout::Error
    :read_timeout
  rescue *thread_run_refused(unix:)
    :refused
  ensure
    socket&.close
  end
end
