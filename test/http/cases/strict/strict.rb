# frozen_string_literal: true

hello = "5\r\nhello\r\n0\r\n\r\n"

source "strict_framing: RFC 9112 §6.1, §6.3"
refuses "a length and chunked", post("Content-Length: 15", "Transfer-Encoding: chunked", body: hello)
refuses "chunked and a length", post("Transfer-Encoding: chunked", "Content-Length: 4", body: hello)
refuses "gzip, chunked", post("Transfer-Encoding: gzip, chunked", body: hello), 501
takes "chunked alone", chunked(hello), "POST / hello"
takes "a length alone", post("Content-Length: 5", body: "hello"), "POST / hello"

source "strict_host: RFC 9112 §3.2"
refuses "no Host", "GET / HTTP/1.1\r\n\r\n"
takes "an empty Host", get("Host:"), "GET /"
takes "a Host", get, "GET /"
takes_last "no Host on 1.0", "GET / HTTP/1.0\r\n\r\n", "GET /"
