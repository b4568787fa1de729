# frozen_string_literal: true

require "rserve/runtime"
require "rserve/binder"
require "rserve/app/status"

module Rserve
  # Serves {App::Status} to `rservectl`: one request per connection, one connection at a time, on a Ruby thread of its
  # own. It runs in a cluster's master too, which must stay free of native threads.
  class ControlServer
    # Seconds a client may take to send its request.
    REQUEST_TIMEOUT = 5
    # Longest request head, in octets.
    MAX_HEAD = 16 * 1024
    REASONS = { 200 => "OK", 400 => "Bad Request", 403 => "Forbidden", 404 => "Not Found" }.freeze
    private_constant :REQUEST_TIMEOUT, :MAX_HEAD, :REASONS

    # @param app [#call] given `PATH_INFO` and `QUERY_STRING`
    # @param binder [Binder] its listeners are served, and closed in the end
    def initialize(app, binder, log_writer)
      @app = app
      @binder = binder
      @log_writer = log_writer
      @wake_reader, @wake_writer = IO.pipe
      @stopping = false
    end

    # @return [Binder]
    attr_reader :binder

    # Starts serving.
    #
    # @return [Thread]
    def run
      require "openssl" if @binder.tls? # see MiniSSL::Server#accept; later its files may be gone
      @thread = Thread.new do
        Rserve.set_thread_name "ctl"
        serve_until_stopped
      end
    end

    # Stops serving; the request at hand is answered first.
    #
    # @param sync [Boolean] wait for that
    def stop(sync = false)
      @stopping = true
      wake
      @thread&.join if sync && @thread != Thread.current
    end

    # Closes what this process has of it: it was forked from the one that serves.
    def close_in_child
      @binder.close
      @wake_reader.close
      @wake_writer.close
    end

    private

    # Closing alone says nothing where a child has the other end, too.
    def wake
      @wake_writer.write("!")
      @wake_writer.close
    rescue IOError, Errno::EPIPE
      nil # it was woken before, or has ended
    end

    def serve_until_stopped
      until @stopping
        ready, = IO.select([@wake_reader, *@binder.ios])
        (ready - [@wake_reader]).each { |listener| accept(listener) }
      end
    rescue IOError, Errno::EBADF
      nil # the listeners were closed under us, which is another way to stop
    ensure
      @wake_reader.close unless @wake_reader.closed?
    end

    def accept(listener)
      socket = listener.accept_nonblock(exception: false)
      return if socket == :wait_readable

      answer(socket)
    rescue SystemCallError, IOError => e
      @log_writer.debug_error(e, nil, "Control server")
    rescue StandardError, ScriptError => e
      @log_writer.unknown_error(e, nil, "Control server")
    ensure
      socket.close unless socket.nil? || socket.is_a?(Symbol)
    end

    def answer(socket)
      target = request_target(read_head(socket))
      path, query = target&.split("?", 2)
      status, headers, body =
        if target
          @app.call("REQUEST_METHOD" => "GET", "PATH_INFO" => path, "QUERY_STRING" => query.to_s)
        else
          [400, { "content-length" => "0" }, [""]]
        end
      head = headers.map { |name, value| "#{name}: #{value}\r\n" }.join
      socket.write("HTTP/1.0 #{status} #{REASONS[status]}\r\n#{head}Connection: close\r\n\r\n#{body.join}")
    end

    def request_target(head)
      head[%r{\A[A-Z]+ (/\S*) HTTP/1\.[01]\r\n}, 1]
    end

    def read_head(socket)
      head = +""
      deadline = now + REQUEST_TIMEOUT
      until head.include?("\r\n\r\n") || head.bytesize > MAX_HEAD
        left = deadline - now
        break unless left.positive? && readable?(socket, left)

        head << socket.readpartial(MAX_HEAD)
      end
      head
    rescue EOFError
      head
    end

    # With TLS octets may have come already.
    def readable?(socket, seconds)
      (socket.respond_to?(:pending) && socket.pending.positive?) || socket.to_io.wait_readable(seconds)
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
