# frozen_string_literal: true

module Rserve
  # The client went away, or would not read, while a response was being sent.
  class ConnectionError < RuntimeError; end

  # The octets that came are no HTTP that this server accepts.
  class HttpParserError < IOError; end

  # The request's method or transfer coding is not implemented.
  class HttpParserError501 < IOError; end
end
