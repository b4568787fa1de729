# frozen_string_literal: true

require "rserve/puma/const"
require "rserve/log/log_stream"

module Rserve
  # Writes failures of requests and of the server itself to the error stream, one line for each.
  class ErrorLogger
    include Const

    # @return [IO]
    attr_reader :ioerr

    def initialize(ioerr, env: ENV)
      @ioerr = ioerr
      @out = LogStream.new(ioerr)
      @debug = env.key?("PUMA_DEBUG")
      @json = false
    end

    # @return [ErrorLogger] to the standard error
    def self.stdio(env: ENV)
      new($stderr, env:)
    end

    # From here on each line is an object of JSON, with what is known of the exception and the request.
    def write_json
      @json = true
    end

    # Writes one line about a failure.
    #
    # @param options [Hash]
    # @option options [Exception] :error
    # @option options [#env] :req the request at hand; its method, path and peer are named
    # @option options [String] :text what failed
    def info(options = {})
      @json ? log_object(options) : log(title(options))
    end

    # As {#info}, with the backtrace, and only when `PUMA_DEBUG` is set.
    def debug(options = {})
      return unless @debug

      return log_object(options) if @json

      error = options[:error]
      lines = [title(options)]
      lines.concat(error.backtrace.map { |line| readable(line) }) if error&.backtrace
      log(lines.join("\n"))
    end

    private

    def title(options)
      error, request, text = options.values_at(:error, :req, :text)
      parts = [text || ("Unknown error" unless error)].compact
      parts << request_title(request) if request_parsed?(request)
      parts << inspected(error) if error
      parts.map { |part| readable(part) }.join(": ").sub(": (", " (")
    end

    # A message in UTF-16 does not fit what `inspect` puts around it.
    def inspected(error)
      error.inspect
    rescue StandardError
      "#<#{error.class}>"
    end

    # The request is octets, a message is in whatever encoding: together they must be one line.
    def readable(text)
      text.dup.force_encoding(Encoding::UTF_8).scrub { |octets| octets.inspect[1..-2] }
    end

    def request_title(request)
      env = request.env
      query = env[QUERY_STRING].to_s
      query = "?#{query}" unless query.empty?
      peer = env[HTTP_X_FORWARDED_FOR] || env[REMOTE_ADDR] || "-"
      path = env[REQUEST_PATH] || env[PATH_INFO]
      method, path, query, peer = [env[REQUEST_METHOD], path, query, peer].map { |text| readable(text.to_s) }
      %(("#{method} #{path}#{query}" - (#{peer})))
    end

    def request_parsed?(request)
      request&.env && request.env[REQUEST_METHOD]
    end

    def log_object(options)
      error, request = options.values_at(:error, :req)
      more = error ? { error: error.class.name, backtrace: error.backtrace&.map { |frame| readable(frame) } } : {}
      more.merge!(members_of(request.env)) if request_parsed?(request)
      @out.write("#{LogWriter::JsonFormatter.line("error", title(options), **more.compact)}\n")
    end

    def members_of(env)
      { method: env[REQUEST_METHOD], path: env[REQUEST_PATH] || env[PATH_INFO], client_addr: env[REMOTE_ADDR],
        request_id: env["HTTP_X_REQUEST_ID"] }.compact.transform_values { |text| readable(text.to_s) }
    end

    def log(line)
      @out.write("#{Time.now} #{line}\n")
    end
  end
end
