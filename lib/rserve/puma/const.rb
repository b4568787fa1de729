# frozen_string_literal: true

require "rserve/config/compat_level"
require "rserve/config/config_error"
require "rserve/puma/http_status"

module Rserve
  # Asked for something this platform or build cannot do.
  class UnsupportedOption < RuntimeError
    include OperatorError
  end

  # Constants that gems and applications read, under Puma's names.
  module Const
    # Fields that the server writes itself; in small letters from level 7 on.
    FIELDS = {
      CONTENT_LENGTH2: "Content-Length", CONTENT_LENGTH_S: "Content-Length: ",
      TRANSFER_ENCODING_CHUNKED: "Transfer-Encoding: chunked\r\n",
      CONNECTION_CLOSE: "Connection: close\r\n", CONNECTION_KEEP_ALIVE: "Connection: Keep-Alive\r\n"
    }.freeze
    private_constant :FIELDS

    # Sets the constants that name a Puma release: `PUMA_VERSION` and `VERSION`, which gems compare to choose between
    # hook names, `CODE_NAME` and `PUMA_SERVER_STRING`; and those of fields, as the level spells them. At first they are
    # the default level's, or that of `RSERVE_COMPAT`; a config file may still choose another one.
    #
    # @param level [Integer] 6 to 9
    def self.follow(level)
      @level = level
      release, code_name = CompatLevel::RELEASES.fetch(level)
      server = "puma #{release} #{code_name}"
      fields = CompatLevel.lower_case_fields?(level) ? FIELDS.transform_values(&:downcase) : FIELDS
      { PUMA_VERSION: release, VERSION: release, CODE_NAME: code_name,
        PUMA_SERVER_STRING: server, **fields }.each do |name, value|
        remove_const(name) if const_defined?(name, false)
        const_set(name, value.freeze)
      end
    end
    follow(CompatLevel.from_env)

    # @return [Integer] the level that these constants follow
    def self.level = @level

    # Seconds a connection that just had a response is watched before it goes back to the reactor.
    FAST_TRACK_KA_TIMEOUT = 0.2
    # Seconds the peer may take to read a response.
    WRITE_TIMEOUT = 10
    # Octets read from a body or a file at a time.
    CHUNK_SIZE = 64 * 1024
    # Largest head, in octets.
    MAX_HEADER = 1024 * (80 + 32)
    # Largest body kept in memory, in octets; a larger one goes to a temporary file.
    MAX_BODY = MAX_HEADER

    DATE = "Date"
    SCRIPT_NAME = "SCRIPT_NAME"
    REQUEST_METHOD = "REQUEST_METHOD"
    REQUEST_PATH = "REQUEST_PATH"
    REQUEST_URI = "REQUEST_URI"
    PATH_INFO = "PATH_INFO"
    QUERY_STRING = "QUERY_STRING"
    REMOTE_ADDR = "REMOTE_ADDR"
    LOCALHOST_IP = "127.0.0.1"
    LOCALHOST_IPV6 = "::1"
    UNSPECIFIED_IPV4 = "0.0.0.0"
    UNSPECIFIED_IPV6 = "::"
    SERVER_NAME = "SERVER_NAME"
    SERVER_PORT = "SERVER_PORT"
    SERVER_PROTOCOL = "SERVER_PROTOCOL"
    SERVER_SOFTWARE = "SERVER_SOFTWARE"
    GATEWAY_INTERFACE = "GATEWAY_INTERFACE"
    CGI_VER = "CGI/1.2"
    HTTP_VERSION = "HTTP_VERSION"
    HTTP_HOST = "HTTP_HOST"
    HTTP_CONNECTION = "HTTP_CONNECTION"
    HTTP_EXPECT = "HTTP_EXPECT"
    HTTP_X_FORWARDED_FOR = "HTTP_X_FORWARDED_FOR"
    HTTP_X_FORWARDED_SSL = "HTTP_X_FORWARDED_SSL"
    HTTP_X_FORWARDED_SCHEME = "HTTP_X_FORWARDED_SCHEME"
    HTTP_X_FORWARDED_PROTO = "HTTP_X_FORWARDED_PROTO"
    HTTPS = "https"
    HTTPS_KEY = "HTTPS"
    HTTP = "http"
    HTTP_11 = "HTTP/1.1"
    HTTP_10 = "HTTP/1.0"
    CONTENT_LENGTH = "CONTENT_LENGTH"
    TRANSFER_ENCODING = "transfer-encoding"
    TRANSFER_ENCODING2 = "HTTP_TRANSFER_ENCODING"
    CHUNKED = "chunked"
    CLOSE = "close"
    KEEP_ALIVE = "keep-alive"
    COLON = ": "
    NEWLINE = "\n"
    LINE_END = "\r\n"
    HEAD = "HEAD"
    GET = "GET"
    PORT_80 = "80"
    PORT_443 = "443"
    LOCALHOST = "localhost"
    EARLY_HINTS = "rack.early_hints"
    # Longest header of the PROXY protocol's version 1, in octets.
    PROXY_PROTOCOL_V1_MAX_LENGTH = 107
    PROXY_PROTOCOL_V1_REGEX = /\APROXY (?:TCP4|TCP6|UNKNOWN) ([^\r]+)\r\n/

    RACK_INPUT = "rack.input"
    RACK_URL_SCHEME = "rack.url_scheme"
    RACK_AFTER_REPLY = "rack.after_reply"
    RACK_RESPONSE_FINISHED = "rack.response_finished"
    HIJACK = "rack.hijack"
    HIJACK_IO = "rack.hijack_io"
    HIJACK_P = "rack.hijack?"
    PUMA_SOCKET = "puma.socket"
    PUMA_CONFIG = "puma.config"
    PUMA_PEERCERT = "puma.peercert"

    # Methods answered unless `supported_http_methods` says otherwise (RFC 9110 §9.1, RFC 5789, RFC 10008).
    SUPPORTED_HTTP_METHODS = %w[HEAD GET POST PUT DELETE OPTIONS TRACE PATCH QUERY].freeze

    # Every method in IANA's registry of 2022, and QUERY.
    IANA_HTTP_METHODS = %w[
      HEAD GET POST PUT DELETE OPTIONS TRACE PATCH QUERY
      ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL
      MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PRI PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT
      UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL
    ].freeze

    # Header names an application may not set: they belong to the connection, or are Rack's own `status`.
    BANNED_HEADER_KEY = /\A(rack\.|status\z)/
    ILLEGAL_HEADER_KEY_REGEX = /[\x00-\x20#{Regexp.escape('()<>@,;:\"/[]?={}')}\x7F]/
    ILLEGAL_HEADER_VALUE_REGEX = /[\x00-\x08\x0A-\x1F]/
    # Header names that a request may not smuggle in with an underscore.
    UNMASKABLE_HEADERS = { "HTTP_TRANSFER,ENCODING" => true, "HTTP_CONTENT,LENGTH" => true }.freeze
  end
end
