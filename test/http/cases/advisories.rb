# frozen_string_literal: true

# What the published advisories of Puma, Rack and other servers come down to on the wire; those that are about one part
# of the grammar are named there as well.

source "CVE-2020-11076 (Puma): an invalid Transfer-Encoding hides a request"
refuses "an unknown coding hides a length", post("Transfer-Encoding: x", "Content-Length: 5", body: "hello"), 501
refuses "an invalid one before chunked", post("Transfer-Encoding: x, chunked", "Content-Length: 5", body: "0\r\n\r\n"), 501
refuses "an invalid one after chunked", post("Transfer-Encoding: chunked, x", "Content-Length: 5", body: "0\r\n\r\n")

source "CVE-2020-11077 (Puma): what follows a body is the next request and nothing else"
takes "a body, and a request after it", post("Content-Length: 3", body: "abc", target: "/a") + get(target: "/b"), "POST /a abc", "GET /b"
takes "a chunked body, and a request after it", chunked("3\r\nabc\r\n0\r\n\r\n", target: "/a") + get(target: "/b"), "POST /a abc", "GET /b"

source "CVE-2022-24790 (Puma): lenient lengths and chunk sizes"
refuses "a length with a plus sign", post("Content-Length: +3", body: "abc")
refuses "a length with an underscore", post("Content-Length: 1_0", body: "a" * 10)
refuses "a chunk size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n")
refuses "a chunk size with an underscore", chunked("1_0\r\n#{"a" * 16}\r\n0\r\n\r\n")
refuses "a chunk size with a minus sign", chunked("-3\r\nabc\r\n0\r\n\r\n")
refuses "two lengths", post("Content-Length: 3", "Content-Length: 4", body: "abcd")

source "CVE-2023-40175 (Puma): an empty Content-Length, and trailers"
refuses "an empty length", post("Content-Length: ", body: get(target: "/smuggled"))
refuses "an empty length on a GET", get("Content-Length:") + get(target: "/smuggled")
takes "a body after a trailer's end is the next request", chunked("0\r\nA: b\r\n\r\n", target: "/a") + get(target: "/b"), "POST /a", "GET /b"

source "CVE-2024-21647 (Puma): chunk extensions without bound"
refuses "one long extension", chunked("1;#{"a" * 100_000}\r\na\r\n0\r\n\r\n")
refuses "many short extensions", chunked("1#{";a=b" * 30_000}\r\na\r\n0\r\n\r\n")
refuses "an extension on each of many chunks", chunked("#{"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n" * 600}0\r\n\r\n")

source "CVE-2021-41136 (Puma): LF in a header value"
refuses "a request in a value", get("A: b\nGET /smuggled HTTP/1.1\nHost: h")
refuses "a length in a value", post("A: b\nContent-Length: 27", body: get)

source "CVE-2019-16770, CVE-2021-29509 (Puma): keep-alive connections are more than the threads, and wait their turn"
takes "a connection of many requests", get * 50, *Array.new(50) { "GET /" }

source "CVE-2025-25184, CVE-2025-27111 (Rack): a log line cannot be forged by a field"
refuses "a line end in a user's name", get("Authorization: Basic YQ==\r\n\tb")
refuses "a line end in X-Sendfile-Type", get("X-Sendfile-Type: a\n127.0.0.1 - - GET /forged")
refuses "a CR in X-Sendfile-Type", get("X-Sendfile-Type: a\r127.0.0.1 - - GET /forged")

source "CVE-2024-26146, CVE-2022-44570 (Rack): long values that its parsers choke on arrive as they are, bounded"
takes "an Accept of 60,000 commas", get("Accept: #{"," * 60_000}"), "GET /", env: { "HTTP_ACCEPT" => "," * 60_000 }
takes "a Range of 10,000 parts", get("Range: bytes=#{"0-1," * 10_000}0-1"), "GET /"

source "CVE-2016-8743, CVE-2019-15605, CVE-2019-16276, CVE-2019-18277, CVE-2020-7238, CVE-2021-33193 (other servers)"
refuses "a space before the colon (Go, Netty)", post("Transfer-Encoding : chunked", "Content-Length: 5", body: "0\r\n\r\n")
refuses "a vertical tab before chunked (HAProxy)", post("Transfer-Encoding:\x0bchunked", "Content-Length: 5", body: "0\r\n\r\n")
refuses "a space before the name (Netty)", post("Content-Length: 5", " Transfer-Encoding: chunked", body: "0\r\n\r\n")
refuses "a bad character in a coding (Node)", post("Transfer-Encoding: chunked\x0b", "Content-Length: 5", body: "0\r\n\r\n")
refuses "white space in the request line (httpd)", "GET\x0b/ HTTP/1.1\r\nHost: h\r\n\r\n"
refuses "a request line from a method (httpd, mod_proxy)", "GET / HTTP/1.1\r\nEvil: x / HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n"

source "CVE-2023-25690, CVE-2023-46747, CVE-2022-22720 (other servers): a refused body is not the next request"
refuses "a chunked body refused half-way", chunked("3\r\nabc\r\nzz\r\n#{get(target: "/smuggled")}")
refuses "a body whose coding is refused", post("Transfer-Encoding: chunked, identity", body: get(target: "/smuggled"))
refuses "a body after an invalid Host", post("Host: a b", "Content-Length: 27", body: get)
