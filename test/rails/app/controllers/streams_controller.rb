# frozen_string_literal: true

# Server-sent events: what is posted goes to who listens, until "end".
class StreamsController < ActionController::Base
  include ActionController::Live

  skip_forgery_protection

  LISTENERS = Concurrent::Array.new

  def show
    response.headers["Content-Type"] = "text/event-stream"
    response.headers["Last-Modified"] = Time.now.httpdate # or Rack::ETag would collect the body
    queue = Queue.new
    LISTENERS << queue
    events = SSE.new(response.stream, event: "note")
    events.write({ text: "listening" })
    while (text = queue.pop) != "end"
      events.write({ text: })
    end
  rescue ActionController::Live::ClientDisconnected
    logger.info "The listener has left"
  ensure
    LISTENERS.delete(queue)
    events&.close
  end

  def update
    LISTENERS.each { |queue| queue << params.require(:text) }
    head :no_content
  end
end
