# frozen_string_literal: true

streamed = ->(&block) { [200, {}, block] }

answers("a called body", body: "ab") { streamed.call { |stream| stream << "a" << "b"; stream.close } }
answers("a called body that takes its stream for a socket", body: "ab") do
  streamed.call { |stream| stream.close if stream.syswrite("ab") == 2 }
end
answers("a called body that writes nothing", body: "") { streamed.call(&:close) }
answers("a stream that is closed twice", body: "a") { streamed.call { |stream| stream.write("a"); 2.times { stream.close } } }
answers("a write after the close", body: "a") do
  streamed.call do |stream|
    stream.write("a")
    stream.close
    stream.write("late")
  end
end
either("a called body that raises at once", [500, :cut]) { streamed.call { raise "no" } }
cuts("a called body that raises after a write") { streamed.call { |stream| stream.write("a"); raise "no" } }
cuts("a called body that exits") { streamed.call { |stream| stream.write("a"); exit } }
cuts("a called body that kills the thread") { streamed.call { |stream| stream.write("a"); Thread.exit } }
cuts("a called body that throws") { streamed.call { |stream| stream.write("a"); throw :nobody } }
answers("a stream written by another thread", body: "abc") do
  streamed.call do |stream|
    Thread.new do
      %w[a b c].each { |part| stream.write(part) }
      stream.close
    end
  end
end
answers("a stream written by ten threads", body: "a" * 200_000) do
  streamed.call do |stream|
    Thread.new do
      Array.new(10) { Thread.new { 20.times { stream.write("a" * 1000) } } }.each(&:join)
      stream.close
    end
  end
end
cuts("a stream that is forgotten") do
  streamed.call { |stream| stream.write("a") }.tap { Thread.new { 20.times { GC.start && sleep(0.05) } } }
end
answers("odd things written", body: "5a") { streamed.call { |stream| stream.write(5, nil, :a); stream.close } }
either("a thing written whose to_s raises", [500, :cut]) { streamed.call { |stream| stream.write(Class.new { def to_s = raise("no") }.new) } }
answers("a stream that is read", body: "nil \"\"") { streamed.call { |stream| stream.write("#{stream.read(1).inspect} #{stream.read.inspect}"); stream.close } }
answers("five megabytes streamed", body: "s" * 5_000_000) { streamed.call { |stream| 50.times { stream.write("s" * 100_000) }; stream.close } }
answers("a stream left to the next request", body: "a") { streamed.call { |stream| (@streams ||= []) << stream; stream.write("a"); stream.close } }
answers("a write to a stream of an earlier request", body: "b") do
  streamed.call do |stream|
    @streams&.each { |old| old.write("LATE") rescue nil }
    stream.write("b")
    stream.close
  end
end

# Only what says that another protocol follows gives the stream's socket away (RFC 9110 §7.8).
{ "connection" => "x-option", "upgrade" => "x" }.each do |name, value|
  answers("a called body beside #{name}: #{value} alone", body: "ab") do
    streamed.call { |stream| stream.write("ab"); stream.close }.tap { |_, fields, _| fields[name] = value }
  end
end
answers("a called body beside Connection: upgrade alone", body: "ab") do
  streamed.call { |stream| stream.write("ab"); stream.close }.tap { |_, fields, _| fields["connection"] = "upgrade" }
end
answers("a called body of another protocol", ends: true, body: "ab") do
  streamed.call { |io| io.write("ab") && io.close }.tap { |_, fields, _| fields.update("upgrade" => "x", "connection" => "X, Upgrade") }
end

hijack = ->(env) { env["rack.hijack"].call }
own = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nh"
answers("a hijack", ends: true, body: "h") { |env| hijack.(env).then { |io| io.write(own) && io.close } && [500, {}, ["x"]] }
answers("a hijack, and a body to be closed", ends: true, body: "h", closed: 1) { |env| hijack.(env).then { |io| io.write(own) && io.close } && nil || [500, {}, closing(env, ["x"])] }
answers("a hijack twice", ends: true, body: "h") { |env| 2.times { hijack.(env) } && hijack.(env).then { |io| io.write(own) && io.close } && [500, {}, []] }
cuts("a hijack that raises") { |env| hijack.(env).close && nil || raise("no") }
answers("a hijack that raises after its response", ends: true, body: "h") { |env| hijack.(env).then { |io| io.write(own) && io.close } && nil || raise("no") }
cuts("a hijack that returns nil") { |env| hijack.(env).close && nil }
cuts("a hijack that kills the thread") { |env| hijack.(env).close || Thread.exit }
answers("a hijack from an earlier request", body: "b") do |env|
  @hijacks&.each { |old| old.call.write("LATE") rescue nil }
  (@hijacks ||= []) << env["rack.hijack"]
  [200, {}, ["b"]]
end
answers("a hijack from an earlier request, again", body: "b") { @hijacks&.each { |old| old.call.write("LATE") rescue nil } && nil || [200, {}, ["b"]] }
answers("a partial hijack", ends: true, body: "h") { [200, { "rack.hijack" => ->(io) { io.write("h") && io.close } }, []] }
answers("a partial hijack with a body to be closed", ends: true, body: "h", closed: 1) { |env| [200, { "rack.hijack" => ->(io) { io.write("h") && io.close } }, closing(env, ["x"])] }
# As with Puma: there is no body that the application could write.
answers("a partial hijack for HEAD", method: "HEAD") { [200, { "rack.hijack" => ->(io) { io.write("h") && io.close } }, []] }
answers("a partial hijack of 204", 204) { [204, { "rack.hijack" => ->(io) { io.write("h") && io.close } }, []] }
answers("a partial hijack of 304", 304) { [304, { "rack.hijack" => ->(io) { io.write("h") && io.close } }, []] }
answers("a called body of HEAD with a Connection of its own", method: "HEAD") { [200, { "connection" => "x" }, ->(io) { io.write("h") && io.close }] }
either("a partial hijack that raises", [200, :cut], ends: true) { [200, { "rack.hijack" => ->(io) { io.close && nil || raise("no") } }, []] }
either("a partial hijack that raises before it closes", [200, :cut], ends: true) { [200, { "rack.hijack" => ->(_io) { raise "no" } }, []] }
either("a partial hijack that cannot be called", [500, :cut]) { [200, { "rack.hijack" => 5 }, []] }
answers("a hijack of nil", body: "a") { [200, { "rack.hijack" => nil }, ["a"]] }
either("the socket closed by the app", [:cut]) { |env| env["puma.socket"].close && nil || [200, {}, ["a"]] }
answers("the socket looked at by the app", ends: true, body: "a", lines: ["Connection: close"]) { |env| env["puma.socket"].peeraddr && [200, {}, ["a"]] }
either("a hijack while the body is sent", [200, :cut], closed: 1) do |env|
  [200, {}, closing(env) { |&part| part.call("a"); env["rack.hijack"].call.write("HTTP/1.1 200 OK\r\n\r\n") }]
end
either("a hijack before the body's first part", [200, 500, :cut], closed: 1) do |env|
  [200, {}, closing(env) { env["rack.hijack"].call.close }]
end
either("a hijack while the body is streamed", [200, :cut]) do |env|
  streamed.call { |stream| stream.write("a"); env["rack.hijack"].call.write("HTTP/1.1 200 OK\r\n\r\n") }
end

hint = ->(env, fields) { env["rack.early_hints"].call(fields) }
answers("early hints", body: "a") { |env| hint.(env, { "link" => "</a.css>; rel=preload" }) && nil || [200, {}, ["a"]] }
answers("early hints twice", body: "a") { |env| 2.times { hint.(env, { "link" => "</a>" }) } && [200, {}, ["a"]] }
answers("early hints with a line end in a value", body: "a") { |env| hint.(env, { "link" => "</a>\r\nset-cookie: a" }) && nil || [200, {}, ["a"]] }
answers("early hints with a response in a value", body: "a") { |env| hint.(env, { "link" => "</a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" }) && nil || [200, {}, ["a"]] }
answers("early hints with a line end in a name", body: "a") { |env| hint.(env, { "link\r\nset-cookie" => "a" }) && nil || [200, {}, ["a"]] }
answers("early hints with a length", body: "a") { |env| hint.(env, { "content-length" => "5", "transfer-encoding" => "chunked" }) && nil || [200, {}, ["a"]] }
answers("early hints of a Symbol and an Integer", body: "a") { |env| hint.(env, { link: 5 }) && nil || [200, {}, ["a"]] }
answers("early hints of an Array", body: "a") { |env| hint.(env, { "link" => %w[</a> </b>] }) && nil || [200, {}, ["a"]] }
answers("early hints of nothing", body: "a") { |env| hint.(env, {}) && nil || [200, {}, ["a"]] }
answers("early hints of nil", body: "a") { |env| hint.(env, nil) && nil || [200, {}, ["a"]] }
fails("early hints whose value raises") { |env| hint.(env, { "link" => Class.new { def to_s = raise("no") }.new }) && nil || [200, {}, ["a"]] }
fails("early hints, and then a raise") { |env| hint.(env, { "link" => "</a>" }) && nil || raise("no") }
answers("early hints while the body is sent", body: "ab", closed: 1) do |env|
  [200, {}, closing(env) { |&part| part.call("a"); hint.(env, { "link" => "</a>" }); part.call("b") }]
end
answers("early hints while the body is streamed", body: "ab") do |env|
  streamed.call { |stream| stream.write("a"); hint.(env, { "link" => "</a>" }); stream.write("b"); stream.close }
end
answers("early hints after the response", body: "a") do |env|
  hints = env["rack.early_hints"]
  env["rack.after_reply"] << -> { hints.call({ "link" => "</late>" }) }
  [200, {}, ["a"]]
end
answers("early hints from an earlier request", body: "b") do |env|
  @hints&.each { |old| old.call({ "link" => "</late>" }) }
  (@hints ||= []) << env["rack.early_hints"]
  [200, {}, ["b"]]
end
answers("early hints for HEAD", method: "HEAD") { |env| hint.(env, { "link" => "</a>" }) && nil || [200, {}, ["a"]] }
answers("early hints for 1.0, whose clients take them for the response", version: "HTTP/1.0", ends: true, body: "a") { |env| hint.(env, { "link" => "</a>" }) && nil || [200, {}, ["a"]] }
