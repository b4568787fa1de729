# frozen_string_literal: true

# Takes the connection away from the server. / takes it whole and echoes lines until one says "bye"; /partial leaves the
# head to the server and takes what follows it.
echo = lambda do |io|
  while (line = io.gets)
    io.write("you said #{line}")
    break if line.chomp == "bye"
  end
ensure
  io.close
end

run lambda { |env|
  case env["PATH_INFO"]
  when "/"
    client = env["rack.hijack"].call
    client.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    # The server's thread is free again; the conversation has its own.
    Thread.new { echo.call(client) }
    [-1, {}, []] # ignored: the connection is the app's
  when "/partial"
    body = lambda do |io|
      io.write("the rest is the app's\n")
    ensure
      io.close
    end
    [200, { "content-type" => "text/plain", "rack.hijack" => body }, []]
  else
    [404, { "content-type" => "text/plain" }, ["not here\n"]]
  end
}
