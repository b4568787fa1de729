# frozen_string_literal: true

source "http_content_length_limit 10, RFC 9110 §15.5.14"
takes "a body at the limit", post("Content-Length: 10", body: "0123456789"), "POST / 0123456789"
refuses "a length beyond it", post("Content-Length: 11", body: "0123456789a"), 413
refuses "a length far beyond it", post("Content-Length: 18446744073709551615"), 413
refuses "a length beyond it and 100-continue: no 100", post("Content-Length: 11", "Expect: 100-continue"), 413
takes "chunks at the limit", chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), "POST / 0123456789"
refuses "chunks beyond it", chunked("5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"), 413
refuses "a chunk that announces more", chunked("fffffffffffffff\r\n"), 413
refuses "the body is not the next request", post("Content-Length: 27", body: get), 413
refuses "after a good request", post("Content-Length: 2", body: "ok", target: "/a") + post("Content-Length: 27", body: get), 413, sees: "POST /a ok"
