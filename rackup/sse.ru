# frozen_string_literal: true

# Server-sent events: the page at / shows the time as the server sends it from /events.
PAGE = <<~HTML
  <!doctype html>
  <title>Server-sent events</title>
  <h1 id="time">…</h1>
  <script>
    new EventSource("/events").onmessage = (event) => { document.getElementById("time").textContent = event.data }
  </script>
HTML

# Each event is one `each` step, so it goes out at once, as a chunk.
events = Enumerator.new do |out|
  5.times do |number|
    out << "id: #{number}\ndata: #{Time.now.strftime("%T")}\n\n"
    sleep 0.2
  end
end

run lambda { |env|
  case env["PATH_INFO"]
  when "/" then [200, { "content-type" => "text/html; charset=utf-8" }, [PAGE]]
  when "/events" then [200, { "content-type" => "text/event-stream", "cache-control" => "no-cache" }, events]
  else [404, { "content-type" => "text/plain" }, ["not here\n"]]
  end
}
