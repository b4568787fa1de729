# frozen_string_literal: true

require_relative "../../helpers/server_case"
require_relative "../../helpers/http2_client"

# Tests of HTTP/2 with a server of their own.
class Http2Case < ServerCase
  def start(app, *arguments, config: "", **options)
    spawn_server("-t", "2:4", *arguments, app: file("app.ru", app), config: "rserve { http2 }\n#{config}",
                                          **options)
  end

  # @return [Http2Client]
  def open_client(**options) = (@clients ||= []).push(Http2Client.new(server.connect, **options)).last

  def teardown
    @clients&.each { |client| client.close unless client.socket.closed? }
    super
  end
end
