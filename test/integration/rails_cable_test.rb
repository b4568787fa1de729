# frozen_string_literal: true

require_relative "../helpers/rails_case"
require_relative "../helpers/certificates"
require_relative "../helpers/web_socket"

# Action Cable on a hijacked connection.
class RailsCableTest < RailsCase
  CLIENTS = 200
  BROADCASTS = 50

  def test_messages_there_and_back
    share_app
    first = CableClient.new(server.connect, "NotesChannel")
    second = CableClient.new(server.connect, "NotesChannel")
    # More than a frame's short length says, and more than one read brings.
    ["hello", "über", "long" * 20_000].each do |text|
      first.perform("say", { body: text })
      [first, second].each { |client| assert_equal text, client.receive["body"] }
    end
    submit_json("/notes", { "note[body]" => "by a page" })
    assert_equal "by a page", second.receive["body"]
  ensure
    [first, second].compact.each(&:close)
  end

  def test_over_tls
    cert, key = Certificates.new(folder).issue("server")
    port = UniquePort.call
    spawn_app "-b", "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}"
    tls = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", port)).tap { |socket| socket.sync_close = true }
    client = CableClient.new(tls.connect, "NotesChannel", origin: "https://localhost")
    ["hello", "long" * 20_000, "bye"].each do |text|
      client.perform("say", { body: text })
      assert_equal text, client.receive["body"]
    end
  ensure
    client&.close
  end

  def test_pages_of_other_sites_are_refused
    share_app
    assert_raises(WebSocket::Closed) { CableClient.new(server.connect, "NotesChannel", origin: "http://elsewhere.example") }
  end

  def test_connections_take_no_thread_and_do_not_keep_the_server_from_stopping
    spawn_app
    clients = Array.new(20) { CableClient.new(server.connect, "NotesChannel") }
    assert_serving "Hello from Rails, visit 1"
    server.signal(:TERM)
    assert_exits :TERM
    clients.each { |client| assert_raises(WebSocket::Closed) { client.receive } }
  ensure
    clients&.each(&:close)
  end

  def test_everyone_hears_every_broadcast
    share_app
    clients = Array.new(CLIENTS) { CableClient.new(server.connect, "NotesChannel") }
    listening = clients.map do |client|
      Thread.new { Array.new(BROADCASTS) { client.receive(timeout: 60)["body"] } }
    end
    bodies = Array.new(BROADCASTS) { |number| "broadcast #{number}" }
    bodies.each { |body| submit_json("/notes", { "note[body]" => body }) }
    # Action Cable's own threads may overtake each other.
    listening.each { |thread| assert_equal bodies.sort, thread.value.sort }
  ensure
    clients&.each(&:close)
  end
end
