# frozen_string_literal: true

require "rserve/puma/const"
require "rserve/log/log_stream"

module Rserve
  # The access log: one line for each response, in the common log format with the seconds it took.
  #
  # `REMOTE - USER [date] "GET /path?query HTTP/1.1" 200 LENGTH 0.0012`
  class CommonLogger
    # Of a request that was answered.
    FORMAT = %(%s - %s [%s] "%s %s%s %s" %d %s %0.4f\n)
    # Of a request whose connection the application took.
    HIJACK_FORMAT = %(%s - %s [%s] "%s %s%s %s" HIJACKED -1 %0.4f\n)
    # As web servers write it.
    DATE_FORMAT = "%d/%b/%Y:%H:%M:%S %z"

    # @param app [#call]
    # @param logger [#write, #<<, nil] the request's `rack.errors` unless given
    def initialize(app, logger = nil)
      @app = app
      @logger = logger
    end

    # (see Rack::Builder#call)
    def call(env)
      began_at = now
      status, headers, body = @app.call(env)
      line = lambda do
        hijacked = env.key?(Const::HIJACK_IO) || hijack_header?(headers)
        write(env, hijacked ? hijacked_line(env, began_at) : response_line(env, status, headers, began_at))
      end
      # The line says how long the whole response took, so it waits for the last octet where it can.
      (after_reply = env[Const::RACK_AFTER_REPLY]) ? after_reply << line : line.call
      [status, headers, body]
    end

    private

    def response_line(env, status, headers, began_at)
      format(FORMAT, *request_parts(env), status.to_i, content_length(headers), now - began_at)
    end

    def hijacked_line(env, began_at)
      format(HIJACK_FORMAT, *request_parts(env), now - began_at)
    end

    def request_parts(env)
      query = env[Const::QUERY_STRING].to_s
      [
        env[Const::HTTP_X_FORWARDED_FOR] || env[Const::REMOTE_ADDR] || "-",
        printable(env["REMOTE_USER"] || "-"),
        Time.now.strftime(DATE_FORMAT),
        env[Const::REQUEST_METHOD],
        env[Const::PATH_INFO],
        query.empty? ? "" : "?#{query}",
        env[Const::HTTP_VERSION] || env[Const::SERVER_PROTOCOL]
      ]
    end

    # The only part that a client can put a line's end into: Basic authentication is Base64.
    def printable(text)
      text.b.gsub(/[^\x20-\x7e]/n) { |octet| format("\\x%02x", octet.ord) }
    end

    # No request fails, or waits, because its line cannot be written.
    def write(env, line)
      logger = @logger || env["rack.errors"]
      logger = @stream ||= LogStream.new(logger) if logger.is_a?(IO)
      logger.respond_to?(:write) ? logger.write(line) : logger << line
    rescue StandardError
      nil
    end

    def hijack_header?(headers)
      headers&.key?(Const::HIJACK)
    end

    # @return [String] "-" when the application gave none, or 0
    def content_length(headers)
      _, value = headers&.find { |name, _| name.to_s.casecmp?("content-length") }
      value && value.to_s != "0" ? value.to_s : "-"
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
