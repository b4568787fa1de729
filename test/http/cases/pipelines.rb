# frozen_string_literal: true

hundred = Array.new(100) { |number| "/#{number}" }

source "RFC 9112 §9.3.2: answers in the order of the requests"
takes "two", get(target: "/a") + get(target: "/b"), "GET /a", "GET /b"
takes "a hundred", hundred.map { |target| get(target:) }.join, *hundred.map { |target| "GET #{target}" }
takes "bodies of each framing", post("Content-Length: 2", body: "ab", target: "/a") + chunked("1\r\nc\r\n0\r\n\r\n", target: "/b") + get(target: "/c"),
      "POST /a ab", "POST /b c", "GET /c"
takes "HEAD between GETs", get(target: "/a") + message("HEAD /b HTTP/1.1") + get(target: "/c"), "GET /a", "HEAD /b", "GET /c"
takes "a declined method between others", get(target: "/a") + get(target: "/b"), "GET /a", "GET /b"
takes "a large body, then a small request", post("Content-Length: 150000", body: "b" * 150_000, target: "/a") + get(target: "/b"),
      "POST /a #{"b" * 150_000}", "GET /b"
takes "an answer with 100 Continue between others", post("Expect: 100-continue", "Content-Length: 2", body: "ab", target: "/a") + get(target: "/b"),
      "POST /a ab", "GET /b", continue: true
takes "1.0 that stays, and then 1.1", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n#{get(target: "/b")}", "GET /a", "GET /b"

source "RFC 9112 §9.6: nothing after a last request is run"
takes_last "after close", get("Connection: close") + get(target: "/smuggled"), "GET /"
takes_last "after close in the second request", get(target: "/a") + get("Connection: close", target: "/b") + get(target: "/smuggled"), "GET /a", "GET /b"
takes_last "after 1.0", "GET / HTTP/1.0\r\n\r\n#{get(target: "/smuggled")}", "GET /"

source "RFC 9112 §11.2: nothing after a refused request is run (CVE-2020-11076, CVE-2022-24790)"
bad = { "method" => "nonsense\r\n\r\n", "version" => "GET / HTTP/1\r\n\r\n", "field" => get("no colon"), "Host" => get("Host: a", "Host: b"),
        "length" => post("Content-Length: x"), "coding" => post("Transfer-Encoding: chunked, gzip"), "chunk" => chunked("x\r\n"),
        "trailer" => chunked("0\r\nbad\r\n\r\n"), "target" => get(target: "a b") }
bad.each do |what, octets|
  refuses "after a bad #{what}", octets + get(target: "/smuggled")
  refuses "after a good request and a bad #{what}", get(target: "/a") + octets + get(target: "/smuggled"), sees: "GET /a"
end
refuses "an empty line does not mend it", "nonsense\r\n\r\n\r\n#{get(target: "/smuggled")}"
refuses "100 KB after it", "nonsense\r\n\r\n#{get(target: "/smuggled") * 3000}"
