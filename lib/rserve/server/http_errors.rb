# frozen_string_literal: true

module Rserve
  # The client went away, or would not read, while a response was being sent.
  class ConnectionError < RuntimeError; end

  # The client went away while the fiber that serves it waited for something else; raised where it waits.
  class ClientGone < ConnectionError; end

  # No more of a body can be read that is read while it comes (`stream_uploads`): itself, if that is malformed.
  class BodyError < IOError
    # @return [Integer, nil] of the response, if the application leaves that to the server; nil where nobody is left
    def status = 400
  end

  # The body is larger than `http_content_length_limit`.
  class BodyTooLarge < BodyError
    def status = 413
  end

  # The client sends the body too slowly.
  class BodyTimeout < BodyError
    def status = 408
  end

  # The client went before it had sent the body.
  class BodyAborted < BodyError
    def status = nil
  end

  # The octets that came are no HTTP that this server accepts.
  class HttpParserError < IOError; end

  # The request's method or transfer coding is not implemented.
  class HttpParserError501 < IOError; end
end
