# frozen_string_literal: true

answers("a status as String") { ["200", {}, ["a"]] }
answers("a status as String with a phrase") { ["200 Fine", {}, ["a"]] }
answers("a status as Float") { [200.9, {}, ["a"]] }
answers("an unknown status", 799) { [799, {}, ["a"]] }
fails("a status of nil") { [nil, {}, []] }
fails("a status of zero") { [0, {}, []] }
fails("a status of two digits") { [99, {}, []] }
fails("a status of four digits") { [1000, {}, []] }
fails("a status below minus one") { [-2, {}, []] }
fails("a status beyond any integer") { [10**30, {}, []] }
fails("a status that is a Symbol") { [:ok, {}, []] }
fails("a status that is an object") { [Object.new, {}, []] }
fails("a status with a line end") { ["x\r\nSet-Cookie: a", {}, []] }
fails("a status whose to_i raises") { [Class.new { def to_i = raise("no") }.new, {}, []] }
fails("a status whose to_i is no Integer") { [Class.new { def to_i = "200" }.new, {}, []] }
cuts("a status of minus one") { [-1, {}, []] }
cuts("a final 100") { [100, {}, []] }
cuts("a final 103 with fields") { [103, { "link" => "</a>" }, []] }
either("a 101 without a hijack", [101], ends: true) { [101, { "upgrade" => "x", "connection" => "upgrade" }, []] }
answers("a 204 with a body", 204, fields: { "content-length" => nil }) { [204, {}, ["a"]] }
answers("a 204 with a length", 204, fields: { "content-length" => nil }) { [204, { "content-length" => "5" }, ["hello"]] }
answers("a 204 with a coding", 204, fields: { "transfer-encoding" => nil }) { [204, { "transfer-encoding" => "chunked" }, ["0\r\n\r\n"]] }
answers("a 205 with a body", 205, fields: { "content-length" => "0" }) { [205, {}, ["a"]] }
answers("a 304 with a body", 304) { [304, {}, ["a"]] }
answers("a 304 with a body that becomes an Array", 304, fields: { "content-length" => nil }) { [304, {}, Rack::BodyProxy.new([]) { nil }] }
answers("a 304 with an empty body", 304, fields: { "content-length" => nil }) { [304, {}, []] }
answers("a 304 with an empty body and a length", 304, fields: { "content-length" => "7" }) { [304, { "content-length" => "7" }, []] }
answers("HEAD with an empty body", fields: { "content-length" => nil }, method: "HEAD") { [200, {}, []] }
answers("HEAD with an empty body and a length", fields: { "content-length" => "7" }, method: "HEAD") { [200, { "content-length" => "7" }, []] }
answers("HEAD with the GET's body", fields: { "content-length" => "5" }, method: "HEAD") { [200, {}, %w[he llo]] }
answers("GET with an empty body", fields: { "content-length" => "0" }) { [200, {}, []] }
answers("a 304 with a body that streams", 304, closed: 1) { |env| [304, {}, closing(env, %w[a b])] }
answers("a 204 with a body that streams", 204, closed: 1) { |env| [204, {}, closing(env, %w[a b])] }
answers("a 204 with a body that is called", 204) { [204, {}, ->(stream) { stream.write("a") }] }
