# frozen_string_literal: true

require_relative "http2_client"

# Clients of HTTP/2 that ask again and again on several streams at a time, on a new connection where the server ends
# one, until they are told to stop. A request that the server says it has not begun is theirs to repeat (RFC 9113 §8.7).
class Http2Load
  # @!attribute answered [Array<String>] paths of requests, each asked for once
  # @!attribute refused [Array<String>] that were not begun, as the server says
  # @!attribute lost [Array<String>] what became of the others
  Results = Struct.new(:answered, :refused, :lost)

  # @param name [String] begins the paths
  # @param clients [Integer] with a connection each
  # @param streams [Integer] that each has open at a time
  # @param pause [Float] seconds before a client asks again
  # @yieldreturn [IO] a new connection
  def initialize(name, clients: 2, streams: 5, pause: 0.005, &connect)
    @name = name
    @connect = connect
    @streams = streams
    @pause = pause
    @results = Results.new([], [], [])
    @number = 0
    @lock = Mutex.new
    @stop = false
    @clients = Array.new(clients) { Thread.new { use_connection until @stop } }
  end

  # @return [Results]
  def stop
    @stop = true
    @clients.each(&:join)
    @results
  end

  private

  def use_connection
    client = Http2Client.new(@connect.call)
    asked = {}
    ask(client, asked)
  rescue EOFError, Errno::EPIPE, Errno::ECONNRESET
    deaf = client && !read_rest(client)
  rescue Timeout::Error => e
    @lock.synchronize { @results.lost << e.inspect }
  rescue SystemCallError => e
    @lock.synchronize { @results.lost << "no connection: #{e.inspect}" }
    sleep 0.05
  ensure
    note(client, deaf ? asked.select { |stream, _| client.ended?(stream) } : asked) if client
    client&.close
  end

  # @return [Boolean] whether all was read that came: OpenSSL 3.5 reads nothing more once a write has failed
  def read_rest(client)
    client.read_all
    true
  rescue OpenSSL::SSL::SSLError
    false
  end

  def ask(client, asked)
    until @stop || client.goaways.any?
      streams = Array.new(@streams) do
        path = "/#{@name}/#{@lock.synchronize { @number += 1 }}"
        client.begin_request(path).tap { |stream| asked[stream] = path }
      end
      streams.each { |stream| client.await(stream, timeout: 20) }
      sleep @pause
    end
  end

  def note(client, asked)
    @lock.synchronize do
      asked.each do |stream, path|
        case outcome = outcome_of(client, stream)
        when 200 then @results.answered << path
        when :refused_stream then @results.refused << path
        else @results.lost << "#{path}, stream #{stream}: #{outcome}, after #{client.goaways.inspect}"
        end
      end
    end
  end

  # @return [Integer, Symbol] the status of the response, or why there is none
  def outcome_of(client, stream)
    answer = client.answers[stream]
    return answer.reset || answer.status if client.ended?(stream)

    client.goaways.any? && stream > client.goaways.last.last_stream ? :refused_stream : :nothing
  end
end
