# frozen_string_literal: true

source "RFC 9112 §5"
takes "no space after the colon", get("A:b"), "GET /", env: { "HTTP_A" => "b" }
takes "many spaces around the value", get("A:   b   "), "GET /", env: { "HTTP_A" => "b" }
takes "tabs around the value", get("A:\t\tb\t"), "GET /", env: { "HTTP_A" => "b" }
takes "an empty value", get("A:"), "GET /", env: { "HTTP_A" => "" }
takes "a value of white space", get("A: \t "), "GET /", env: { "HTTP_A" => "" }
takes "white space within the value", get("A: b \t c"), "GET /", env: { "HTTP_A" => "b \t c" }
takes "a colon in the value", get("A: b:c: d"), "GET /", env: { "HTTP_A" => "b:c: d" }
takes "a value that starts with a colon", get("A::b"), "GET /", env: { "HTTP_A" => ":b" }
takes "quotes in the value", get("A: \"b\\\"\""), "GET /", env: { "HTTP_A" => "\"b\\\"\"" }
takes "octets from 0x80 in the value", get("A: \x80\xFF\xC3\xA4"), "GET /", env: { "HTTP_A" => "\x80\xFF\xC3\xA4" }
takes "every token octet in a name", get("!#$%&'*+-.^`|~0Zz: b"), "GET /", env: { "HTTP_!\#$%&'*+_.^`|~0ZZ" => "b" }
takes "a name of digits", get("123: b"), "GET /", env: { "HTTP_123" => "b" }
takes "a name of one dash", get("-: b"), "GET /", env: { "HTTP__" => "b" }
takes "a name of 256 octets", get("#{"n" * 256}: b"), "GET /", env: { "HTTP_#{"N" * 256}" => "b" }
takes "a value of 80 KiB", get("A: #{"v" * 81_920}"), "GET /"
takes "500 fields", get(*Array.new(500) { |n| "X-#{n}: #{n}" }), "GET /", env: { "HTTP_X_499" => "499" }

source "RFC 9112 §5.1: a name is a token, and the colon follows it"
{ "a space before the colon" => "A : b", "a tab before the colon" => "A\t: b", "a space in the name" => "A b: c",
  "no name" => ": b", "no colon" => "Ab", "an empty name of a space" => " : b", "a NUL in the name" => "A\0: b",
  "a control octet in the name" => "A\x01: b", "a DEL in the name" => "A\x7F: b", "an octet from 0x80 in the name" => "\xC3\x84: b",
  "brackets in the name" => "A[b]: c", "parentheses in the name" => "A(b): c", "a slash in the name" => "A/b: c",
  "a comma in the name" => "A,b: c", "a semicolon in the name" => "A;b: c", "an at sign in the name" => "a@b: c",
  "an equals sign in the name" => "A=b: c", "a question mark in the name" => "A?: c", "quotes in the name" => "\"A\": c",
  "braces in the name" => "{A}: c", "angle brackets in the name" => "<A>: c", "a backslash in the name" => "A\\b: c",
  "only a colon" => ":" }
  .each { |what, line| refuses what, get("X: y", line) }
{ "a space before the first field" => " A: b", "a tab before the first field" => "\tA: b" }
  .each { |what, line| refuses what, "GET / HTTP/1.1\r\n#{line}\r\nHost: h\r\n\r\n" }

source "RFC 9112 §5.2: obs-fold is refused"
refuses "folded with a space", get("A: b", " c")
refuses "folded with a tab", get("A: b", "\tc")
refuses "folded with white space alone", get("A: b", "  ")
refuses "folded into another field", get("A: b", " Content-Length: 5")
refuses "folded after Host", "GET / HTTP/1.1\r\nHost: h\r\n .evil\r\n\r\n"

source "RFC 9110 §5.5: CR, LF and NUL are never in a value; no other control octet but HTAB, as in Puma"
(0..31).reject { |octet| [9, 10, 13].include?(octet) }.each do |octet|
  refuses format("octet 0x%02x in a value", octet), get("A: b#{octet.chr}c")
end
refuses "DEL in a value", get("A: b\x7Fc")

source "CVE-2021-41136: a bare LF ends no line"
refuses "a bare LF in a value", get("A: b\nContent-Length: 5")
refuses "a bare LF between two fields", "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n"
refuses "a bare LF for the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\n"
refuses "a bare CR in a value", get("A: b\rContent-Length: 5")
refuses "a bare CR for the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\rGET /smuggled HTTP/1.1\r\n\r\n"
refuses "CR CR LF for the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\r\r\n"
refuses "LF LF", "GET / HTTP/1.1\r\nHost: h\n\nGET /smuggled HTTP/1.1\r\n\r\n"
refuses "LF and a Transfer-Encoding", post("A: b\nTransfer-Encoding: chunked", "Content-Length: 5", body: "0\r\n\r\n")

source "CVE-2024-45614: a name with an underscore never takes a dashed one's place"
takes "the underscore after the dash", get("X-Forwarded-For: 1.1.1.1", "X_Forwarded_For: 6.6.6.6"), "GET /",
      env: { "HTTP_X_FORWARDED_FOR" => "1.1.1.1" }
takes "the underscore before the dash", get("X_Forwarded_For: 6.6.6.6", "X-Forwarded-For: 1.1.1.1"), "GET /",
      env: { "HTTP_X_FORWARDED_FOR" => "1.1.1.1" }
takes "half an underscore", get("X_Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.1.1.1"), "GET /",
      env: { "HTTP_X_FORWARDED_FOR" => "1.1.1.1" }
takes "an underscore alone, as in Puma", get("X_Forwarded_For: 1.1.1.1"), "GET /", env: { "HTTP_X_FORWARDED_FOR" => "1.1.1.1" }
takes "an underscore twice, and a dash between", get("X_A: 1", "X-A: 2", "X_A: 3"), "GET /", env: { "HTTP_X_A" => "2" }
takes "an underscore in other case", get("x-real-ip: 1.1.1.1", "X_REAL_IP: 6.6.6.6"), "GET /", env: { "HTTP_X_REAL_IP" => "1.1.1.1" }
takes "Content_Type", get("Content_Type: evil/evil"), "GET /", env: { "CONTENT_TYPE" => nil, "HTTP_CONTENT_TYPE" => nil }
takes "a comma's trick: Puma keeps underscores as commas for a while", get("X_A: 1", "X-B: 2"), "GET /",
      env: { "HTTP_X_A" => "1", "HTTP_X,A" => nil }

source "CVE-2016-5385 (httpoxy) and the CGI namespace, RFC 3875 §4.1.18"
takes "Proxy is dropped", get("Proxy: http://evil/"), "GET /", env: { "HTTP_PROXY" => nil }
takes "Proxy is dropped in any case", get("pROXY: http://evil/"), "GET /", env: { "HTTP_PROXY" => nil }
takes "a name that starts with HTTP", get("HTTP-A: b"), "GET /", env: { "HTTP_HTTP_A" => "b" }
takes "Remote-Addr is not REMOTE_ADDR", get("Remote-Addr: 6.6.6.6"), "GET /",
      env: { "REMOTE_ADDR" => "127.0.0.1", "HTTP_REMOTE_ADDR" => "6.6.6.6" }
takes "Path-Info is not PATH_INFO", get("Path-Info: /evil"), "GET /", env: { "PATH_INFO" => "/" }
takes "Version would be HTTP_VERSION, which is the server's", get("Version: 9"), "GET /", env: { "HTTP_VERSION" => "HTTP/1.1" }
takes "Version in any case, twice", get("vERSION: 9", "Version: 8"), "GET /", env: { "HTTP_VERSION" => "HTTP/1.1" }
takes "X-Version is the app's", get("X-Version: 9"), "GET /", env: { "HTTP_X_VERSION" => "9" }
takes "Https does not make it https", get("Https: on"), "GET /", env: { "rack.url_scheme" => "http" }
takes "X-Forwarded-Proto makes it https, as in Puma", get("X-Forwarded-Proto: https"), "GET /", env: { "rack.url_scheme" => "https" }

source "RFC 9110 §5.3: several fields of one name are one list"
takes "two", get("A: b", "A: c"), "GET /", env: { "HTTP_A" => "b, c" }
takes "three in different case", get("Aa: 1", "aA: 2", "AA: 3"), "GET /", env: { "HTTP_AA" => "1, 2, 3" }
takes "cookies, joined as Puma joins them", get("Cookie: a=b", "Cookie: c=d"), "GET /", env: { "HTTP_COOKIE" => "a=b, c=d" }
takes "with others between", get("A: b", "C: d", "A: e"), "GET /", env: { "HTTP_A" => "b, e", "HTTP_C" => "d" }

source "RFC 6585 §5; limits, Puma's where Puma has one: CVE-2022-24790's relatives and plain exhaustion"
refuses "a name of 257 octets", get("#{"n" * 257}: b"), 431
refuses "a value of 80 KiB and one octet", get("A: #{"v" * 81_921}"), 431
refuses "513 fields", get(*Array.new(513) { |n| "X-#{n}: #{n}" }), 431
refuses "100,000 fields", get(*Array.new(100_000) { "A: b" }), 431
refuses "a head of 113 KiB", get(*Array.new(113) { |n| "X-#{n}: #{"v" * 1024}" }), 431
refuses "a name without an end", "GET / HTTP/1.1\r\n#{"n" * 200_000}", 431
refuses "a value without an end", "GET / HTTP/1.1\r\nA: #{"v" * 200_000}", 431
refuses "fields without an end", "GET / HTTP/1.1\r\n#{"A: b\r\n" * 40_000}", 431

source "RFC 9112 §8: an incomplete head is not run, and not answered"
["", "G", "GET", "GET ", "GET /", "GET / ", "GET / HTTP/1.1", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\n",
 "GET / HTTP/1.1\r\nHost", "GET / HTTP/1.1\r\nHost: h", "GET / HTTP/1.1\r\nHost: h\r", "GET / HTTP/1.1\r\nHost: h\r\n",
 "GET / HTTP/1.1\r\nHost: h\r\n\r", "\r", "\r\n"].each { |part| waits part.inspect, part }
waits "the second of two requests", get(target: "/a") + get(target: "/b")[0..-2], sees: "GET /a"
waits "a body after a request", get(target: "/a") + post("Content-Length: 5", body: "hell"), sees: "GET /a"
