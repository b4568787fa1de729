# frozen_string_literal: true

require "stringio"
require "rserve/puma/detect"
require "rserve/puma/json_serialization"
require "rserve/log/log_stream"
require "rserve/puma/null_io"
require "rserve/log/error_logger"

module Rserve
  # Where the server's own lines go: life cycle to `stdout`, failures to `stderr`. None of them is worth an exception.
  class LogWriter
    # Leaves a line as it is.
    class DefaultFormatter
      # @return [String] the line as it is written
      def call(line)
        line
      end
    end

    # Puts the pid in front: in a cluster several processes write to one log.
    class PidFormatter
      # @return [String] the line as it is written
      def call(line)
        "[#{Process.pid}] #{line}"
      end
    end

    # Makes each line an object of JSON, with the level that its first characters tell.
    class JsonFormatter
      LEVELS = { "!" => "warn", "%" => "debug" }.freeze
      private_constant :LEVELS

      class << self
        # @return [Integer, nil] this process' index, in a worker
        attr_accessor :worker

        # @param level [String]
        # @param msg [String]
        # @param more [Hash] further members
        # @return [String] without a line end
        def line(level, msg, **more)
          time = Time.now.utc.strftime("%Y-%m-%dT%H:%M:%S.%LZ")
          more[:worker] = worker if worker
          JSONSerialization.generate({ time:, level:, msg: msg.scrub, pid: Process.pid, **more })
        end
      end

      # @return [String] the line as it is written
      def call(line)
        text = line.chomp
        level = text.start_with?("ERROR") ? "error" : LEVELS.fetch(text[0], "info")
        self.class.line(level, text)
      end
    end

    # @return [IO]
    attr_reader :stdout, :stderr

    # @return [#call] turns each line into what is written
    attr_accessor :formatter

    # @return [#write, nil] takes every line in place of `stdout`
    attr_accessor :custom_logger

    def initialize(stdout, stderr, env: ENV)
      @formatter = DefaultFormatter.new
      @custom_logger = nil
      @stdout = stdout
      @stderr = stderr
      @debug = env.key?("PUMA_DEBUG")
      @out = LogStream.new(@stdout)
      @error_logger = ErrorLogger.new(@stderr, env:)
      @mutex = Mutex.new
    end

    # To the standard output and error.
    DEFAULT = new($stdout, $stderr)

    class << self
      # Writes to this process's standard streams.
      def stdio(env: ENV)
        new($stdout, $stderr, env:)
      end

      # Keeps everything in two `StringIO`s.
      def strings(env: ENV)
        new(StringIO.new, StringIO.new, env:)
      end

      # Keeps nothing.
      def null(env: ENV)
        io = NullIO.new
        new(io, io, env:)
      end
    end

    # From here on every line is an object of JSON.
    def write_json
      @formatter = JsonFormatter.new
      @error_logger.write_json
    end

    # Writes one line to `stdout`.
    def log(line)
      if @custom_logger
        write_to_custom_logger(format(line))
      else
        write_out("#{format(line)}\n")
      end
    end

    # Writes a warning and where its thread is: in lines of their own, or as members of the object of JSON.
    #
    # @param backtrace [Array<String>, nil]
    # @param members [Hash] what else is known; only in JSON
    def warn_of_thread(text, backtrace, **members)
      frames = Array(backtrace).map(&:scrub)
      return log("! #{[text, *frames.map { |frame| "  #{frame}" }].join("\n")}") unless @formatter.is_a?(JsonFormatter)

      line = JsonFormatter.line("warn", text, backtrace: frames, **members)
      @custom_logger ? write_to_custom_logger(line) : write_out("#{line}\n")
    end

    # Writes to `stdout` without a line end.
    def write(text)
      write_out(format(text))
    end

    # Writes a line when `PUMA_DEBUG` is set: the block's value, or `line`.
    def debug(line = nil)
      log("% #{block_given? ? yield : line}") if @debug
    end

    def debug?
      @debug
    end

    # Writes to `stderr` and ends the process with status 1.
    def error(line)
      @error_logger.info(text: format("ERROR: #{line}"))
      exit 1
    end

    # @return [String] `line` as the formatter has it; as it is when that fails
    def format(line)
      formatter.call(line)
    rescue StandardError
      line
    end

    # The peer went away, or its connection failed in another way.
    #
    # @param error [Exception]
    # @param req [#env] the request at hand
    def connection_error(error, req, text = "HTTP connection error")
      @error_logger.info(error:, req:, text:)
    end

    # The peer sent something that is not HTTP.
    def parse_error(error, req)
      @error_logger.info(error:, req:, text: "HTTP parse error, malformed request")
    end

    # @param ssl_socket [#peeraddr, #peercert]
    def ssl_error(error, ssl_socket)
      peer = peer_of(ssl_socket)
      subject = ssl_socket.peercert&.subject
      @error_logger.info(error:, text: "SSL error, peer: #{peer}, peer cert: #{subject}")
    end

    # A failure nobody foresaw: the application's, or ours.
    def unknown_error(error, req = nil, text = "Unknown error")
      @error_logger.info(error:, req:, text:)
    end

    # A failure worth a line, with its backtrace, only when debugging.
    def debug_error(error, req = nil, text = "")
      @error_logger.debug(error:, req:, text:)
    end

    private

    def peer_of(ssl_socket)
      ssl_socket.peeraddr.last
    rescue StandardError
      "<unknown>"
    end

    # A thread interrupted between a line and its end would leave half a line, so both go out in one write.
    def write_out(text)
      # A trap handler cannot take a lock, and must still be able to say that the server stops.
      @mutex.owned? ? @out.write(text) : @mutex.synchronize { @out.write(text) }
    rescue ThreadError
      @out.write(text)
    end

    def write_to_custom_logger(text)
      @custom_logger.write(text)
    rescue StandardError
      nil
    end
  end
end
