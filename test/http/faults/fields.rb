# frozen_string_literal: true

fails("nil for headers") { [200, nil, ["a"]] }
fails("an Integer for headers") { [200, 5, ["a"]] }
fails("a String for headers") { [200, "content-type: text/plain", ["a"]] }
answers("headers as pairs", fields: { "x-a" => "b" }) { [200, [%w[x-a b]], ["a"]] }
answers("headers with an each", fields: { "x-a" => "b" }) { [200, Class.new { def each = yield("x-a", "b") }.new, ["a"]] }
fails("headers whose each raises") { [200, Class.new { def each = yield("x-a", "b") && raise("no") }.new, ["a"]] }
fails("headers whose each raises at once") { [200, Class.new { def each = raise("no") }.new, ["a"]] }
fails("headers whose each throws") { [200, Class.new { def each = throw(:nobody) }.new, ["a"]] }
cuts("headers whose each kills the thread") { [200, Class.new { def each = Thread.exit }.new, ["a"]] }
fails("a name that is nil") { [200, { nil => "a" }, ["a"]] }
answers("a name that is a Symbol", body: "a", fields: { "x-a" => "b" }) { [200, { "x-a": "b" }, ["a"]] }
answers("a length by a Symbol", body: "hel", fields: { "content-length" => "3" }) { [200, { "Content-Length": 3 }, ["hello"]] }
answers("a Symbol that splits is dropped", body: "a", fields: { "set-cookie" => nil }) { [200, { "x\r\nset-cookie": "b" }, ["a"]] }
answers("a Symbol made for this request", body: "a", fields: { "x-b" => "c" }) { [200, { "X-#{"b"}".to_sym => "c" }, ["a"]] }
fails("a name that is an Integer") { [200, { 5 => "a" }, ["a"]] }
answers("an empty name", body: "a") { [200, { "" => "b" }, ["a"]] }

# RFC 9110 §6.6.1
answers("its own Date", fields: { "date" => "Thu, 01 Jan 1970 00:00:00 GMT" }) { [200, { "DATE" => "Thu, 01 Jan 1970 00:00:00 GMT" }, ["a"]] }

# CVE-2020-5247, CVE-2020-5249: response splitting.
["\r\nset-cookie", "x\r\nset-cookie: a\r\ny", "x\r", "x\n", "\nx", "x y", "x:", ":x", "x\0", "x\t", "x\x7F", "x\xFF", "(x)", "x/y"].each do |name|
  answers("the name #{name.inspect} is dropped", body: "a", fields: { "set-cookie" => nil, "x" => nil }) { [200, { name => "b" }, ["a"]] }
end
["b\r\nset-cookie: c", "b\r\n\r\nHTTP/1.1 200 OK", "b\rset-cookie: c", "b\r", "\rb", "b\0", "b\x7F", "b\x01", "b\v", "b\n\r\n\rset-cookie: c",
 "b\r\n\r\n<script>", "\r\n", "\r\n\r\n"].each do |value|
  answers("the value #{value.inspect} splits nothing", body: "a", fields: { "set-cookie" => nil }) { [200, { "x" => value }, ["a"]] }
end
answers("a value with line feeds is several lines", fields: { "x" => "b" }) { [200, { "x" => "b\nc" }, ["a"]] }
answers("a value that is an Array with a line end in it", fields: { "set-cookie" => nil }) { [200, { "x" => ["b\r\nset-cookie: c"] }, ["a"]] }
answers("a value that is nil", fields: { "x" => "" }) { [200, { "x" => nil }, ["a"]] }
answers("a value that is an Integer", fields: { "x" => "5" }) { [200, { "x" => 5 }, ["a"]] }
answers("a value that is a Symbol", fields: { "x" => "y" }) { [200, { "x" => :y }, ["a"]] }
answers("a value that is an empty Array", fields: { "x" => nil }) { [200, { "x" => [] }, ["a"]] }
answers("a value that is a nested Array") { [200, { "x" => [["b"], [nil]] }, ["a"]] }
fails("a value whose to_s raises") { [200, { "x" => Class.new { def to_s = raise("no") }.new }, ["a"]] }
either("a value whose to_s is no String", [200, 500]) { [200, { "x" => Class.new { def to_s = 5 }.new }, ["a"]] }
either("a value in UTF-16", [200], fields: { "set-cookie" => nil }) { [200, { "x" => "b\r\nset-cookie: c".encode("UTF-16LE") }, ["a"]] }
either("a name in UTF-16", [200, 500], fields: { "set-cookie" => nil }) { [200, { "x\r\nset-cookie: c".encode("UTF-16LE") => "b" }, ["a"]] }
answers("a value with octets from 0x80", fields: { "x" => "\xC3\xA4\xFF".b }) { [200, { "x" => "\xC3\xA4\xFF" }, ["a"]] }
answers("a frozen value", fields: { "x" => "b" }) { [200, { "x" => "b".freeze }.freeze, ["a"]] }
answers("a value of a megabyte") { [200, { "x" => "v" * 1_000_000 }, ["a"]] }
answers("ten thousand fields") { [200, Array.new(10_000) { |n| ["x-#{n}", "v"] }.to_h, ["a"]] }
answers("rack's own names are not sent", fields: { "rack.session" => nil, "status" => nil }) { [200, { "rack.session" => "a", "status" => "500" }, ["a"]] }
answers("the app's Date stays the only one", fields: { "date" => "x" }) { [200, { "date" => "x" }, ["a"]] }
answers("Connection keep-alive is kept", body: "a", fields: { "connection" => "keep-alive", "x" => "y" }) { [200, { "connection" => "keep-alive", "x" => "y" }, ["a"]] }
answers("Connection close is kept", ends: true) { [200, { "connection" => "close" }, ["a"]] }
answers("Connection close among others", ends: true, fields: { "connection" => "close, x" }) { [200, { "connection" => "close, x" }, ["a"]] }
answers("Connection close after another", ends: true, fields: { "connection" => "x, close" }) { [200, { "connection" => %w[x close] }, ["a"]] }
answers("Connection close on a line of its own", ends: true, fields: { "connection" => "x, close" }) { [200, { "connection" => "x\nclose" }, ["a"]] }
answers("Connection close under two spellings", ends: true) { [200, { "Connection" => "x", "connection" => "Close" }, ["a"]] }
answers("Connection of another option", fields: { "connection" => "x" }) { [200, { "connection" => "x" }, ["a"]] }
answers("Connection of another option on a connection that ends", ends: true, lines: ["Connection: close"], fields: { "connection" => "x, close" }) do
  [200, { "connection" => "x" }, ["a"]]
end
answers("Connection of another option for 1.0", version: "HTTP/1.0", ends: true) { [200, { "connection" => "x" }, ["a"]] }
answers("Connection keep-alive under two spellings", fields: { "connection" => "keep-alive" }) do
  [200, { "connection" => "keep-alive", "Connection" => "Keep-Alive" }, ["a"]]
end
answers("Connection keep-alive where it ends", ends: true, lines: ["Connection: close"]) { [200, { "connection" => "keep-alive, x" }, ["a"]] }
answers("Connection keep-alive and close", ends: true) { [200, { "connection" => "keep-alive, close" }, ["a"]] }
answers("Connection keep-alive for 1.0", version: "HTTP/1.0", lines: ["Connection: keep-alive"]) { [200, { "connection" => "keep-alive" }, ["a"]] }
answers("Connection of no token", fields: { "connection" => nil }) { [200, { "connection" => "x y, \x01" }, ["a"]] }
answers("Connection of nil") { [200, { "connection" => nil }, ["a"]] }
answers("Connection close by a request with more options", ends: true, lines: ["Connection: x, close"]) { [200, {}, ["a"]] }
answers("Connection close by a request with two lines", ends: true, lines: ["Connection: x", "Connection: close"]) { [200, {}, ["a"]] }
either("a Connection with a line end", [200], fields: { "set-cookie" => nil }) { [200, { "connection" => "close\r\nset-cookie: a" }, ["a"]] }
# A value's `to_s` may do what it likes to its name.
answers("a name that changes while its value is read", fields: { "x-a" => "b" }) do
  name = +"x-a"
  value = Class.new { define_method(:to_s) { name.replace("x" * 100_000) && GC.start || "b" } }.new
  [200, {}.compare_by_identity.update(name => value), ["a"]]
end
answers("a name in a pair that changes while its value is read", fields: { "x-#{"a" * 100}" => "b" }) do
  name = "x-#{"a" * 100}"
  value = Class.new { define_method(:to_s) { name.clear && GC.start || "b" } }.new
  [200, [[name, value]], ["a"]]
end
answers("a name that changes while its values are read", fields: { "x-#{"a" * 100}" => "b" }) do
  name = "x-#{"a" * 100}"
  value = Class.new { define_method(:to_s) { name.replace("y") && GC.start || "b" } }.new
  [200, [[name, [value, value, value]]], ["a"]]
end
answers("a coding whose name changes while it is read", body: "a", fields: { "transfer-encoding" => "chunked" }) do
  name = "transfer-encoding".dup
  value = Class.new { define_method(:to_s) { name.replace("y" * 10_000) && GC.start || "chunked" } }.new
  [200, [[name, value]], ["1\r\na\r\n0\r\n\r\n"]]
end
answers("headers that change while they are read") do
  headers = { "x-a" => nil }
  headers["x-a"] = Class.new { define_method(:to_s) { headers.delete("x-a") && "b" } }.new
  [200, headers, ["a"]]
end
either("headers that grow while they are read", [200, 500]) do
  headers = { "x-a" => nil }
  headers["x-a"] = Class.new { define_method(:to_s) { (headers["x-b"] = "c") && "b" } }.new
  [200, headers, ["a"]]
end

answers("a length that is right", body: "hello", fields: { "content-length" => "5" }) { [200, { "content-length" => "5" }, ["hello"]] }
answers("a length that is an Integer", body: "hello") { [200, { "content-length" => 5 }, ["hello"]] }
answers("a body longer than its length is cut to it", body: "hel") { [200, { "content-length" => "3" }, ["hello"]] }
answers("a body in parts longer than its length is cut to it", body: "abc") { [200, { "content-length" => "3" }, %w[ab cd ef]] }
answers("a streamed body longer than its length is cut to it", body: "abc", closed: 1) { |env| [200, { "content-length" => "3" }, closing(env, %w[ab cd ef])] }
answers("a long body longer than its length is cut to it", body: "h" * 100_000) { [200, { "content-length" => "100000" }, ["h" * 200_000]] }
answers("a called body longer than its length is cut to it", body: "abc") do
  [200, { "content-length" => "3" }, lambda { |stream|
    stream.write("abcdef")
    stream.close
  }]
end
answers("a length of zero and a body", body: "") { [200, { "content-length" => "0" }, ["hello"]] }
cuts("a body shorter than its length") { [200, { "content-length" => "9" }, ["hello"]] }
cuts("a streamed body shorter than its length", closed: 1) { |env| [200, { "content-length" => "9" }, closing(env, %w[ab cd])] }
cuts("no body but a length") { [200, { "content-length" => "9" }, []] }
cuts("a called body shorter than its length") { [200, { "content-length" => "9" }, ->(stream) { stream.write("abc") && stream.close }] }
either("a length that is no number", [200], body: "hello") { [200, { "content-length" => "five" }, ["hello"]] }
either("a negative length", [200], body: "hello") { [200, { "content-length" => "-5" }, ["hello"]] }
either("a length beyond any number", [200, :cut]) { [200, { "content-length" => "9" * 40 }, ["hello"]] }
either("a length with a line end", [200], body: "hello", fields: { "set-cookie" => nil }) { [200, { "content-length" => "5\r\nset-cookie: a" }, ["hello"]] }
either("two lengths in an Array", [200, :cut]) { [200, { "content-length" => %w[5 6] }, ["hello"]] }
either("two lengths in different case", [200, :cut]) { [200, { "Content-Length" => "5", "content-length" => "6" }, ["hello"]] }
either("two lengths with a line feed", [200, :cut]) { [200, { "content-length" => "5\n6" }, ["hello"]] }

answers("a coding that the app applied", body: "hello") { [200, { "transfer-encoding" => "chunked" }, ["5\r\nhello\r\n0\r\n\r\n"]] }
answers("a coding that the app applied in parts", body: "hello") { [200, { "transfer-encoding" => "chunked" }, ["5\r", "\nhel", "lo\r\n", "0\r\n\r", "\n"]] }
cuts("a coding that the app did not apply") { [200, { "transfer-encoding" => "chunked" }, ["hello"]] }
cuts("a coding without a last chunk") { [200, { "transfer-encoding" => "chunked" }, ["5\r\nhello\r\n"]] }
answers("a coding and a second response after it", body: "") do
  [200, { "transfer-encoding" => "chunked" }, ["0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]]
end
either("a coding and a length", [200], body: "hello") { [200, { "transfer-encoding" => "chunked", "content-length" => "5" }, ["5\r\nhello\r\n0\r\n\r\n"]] }
either("a coding that nobody knows", [200], ends: true) { [200, { "transfer-encoding" => "cow" }, ["hello"]] }
either("a coding with a line end", [200], fields: { "set-cookie" => nil }) { [200, { "transfer-encoding" => "chunked\r\nset-cookie: a" }, ["0\r\n\r\n"]] }
either("two codings in an Array", [200], ends: true) { [200, { "transfer-encoding" => %w[chunked identity] }, ["0\r\n\r\n"]] }
answers("a coding for 1.0 is taken off", version: "HTTP/1.0", ends: true, body: "hello") { [200, { "transfer-encoding" => "chunked" }, ["5\r\nhello\r\n0\r\n\r\n"]] }
answers("a coding for 1.0 is taken off, in parts", version: "HTTP/1.0", lines: ["Connection: keep-alive"], ends: true, closed: 1, body: "hello you") do |env|
  [200, { "transfer-encoding" => "chunked" }, closing(env, ["5\r", "\nhel", "lo\r\n4\r\n you\r\n0\r\n\r", "\n"])]
end
answers("a coding for 1.0 is taken off what is called", version: "HTTP/1.0", ends: true, body: "hello") do
  [200, { "transfer-encoding" => "chunked" }, ->(stream) { stream.write("5\r\nhello\r\n0\r\n\r\n"); stream.close }]
end
fails("a coding that nobody knows for 1.0", version: "HTTP/1.0") { [200, { "transfer-encoding" => "cow" }, ["hello"]] }
fails("a coding and another one for 1.0", version: "HTTP/1.0") { [200, { "transfer-encoding" => "gzip, chunked" }, ["0\r\n\r\n"]] }
answers("a coding for HEAD of 1.0", version: "HTTP/1.0", method: "HEAD", ends: true) { [200, { "transfer-encoding" => "chunked" }, []] }
