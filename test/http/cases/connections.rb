# frozen_string_literal: true

source "RFC 9112 §9.3, §9.6"
takes_last "close", get("Connection: close"), "GET /"
takes_last "close in capitals", get("Connection: CLOSE"), "GET /"
takes_last "close in a list", get("Connection: TE, close"), "GET /"
takes_last "close first in a list", get("Connection: close, TE"), "GET /"
takes_last "close in the second field", get("Connection: TE", "Connection: close"), "GET /"
takes_last "close beside keep-alive", get("Connection: keep-alive, close"), "GET /"
takes_last "close among empty members", get("Connection: ,, close ,"), "GET /"
takes_last "close after a body", post("Connection: close", "Content-Length: 2", body: "ab"), "POST / ab"
takes_last "close after a chunked body", chunked("1\r\na\r\n0\r\n\r\n", "Connection: close"), "POST / a"
takes "keep-alive", get("Connection: keep-alive"), "GET /"
takes "a word that is not close", get("Connection: closed"), "GET /"
takes "close within a word", get("Connection: not-close"), "GET /"
takes "close in quotes", get("Connection: \"close\""), "GET /"
takes "an empty one", get("Connection:"), "GET /"
takes "Proxy-Connection is another field", get("Proxy-Connection: close"), "GET /"
takes "Keep-Alive is another field", get("Keep-Alive: timeout=5, max=1"), "GET /"
takes_last "1.0 without a word", "GET / HTTP/1.0\r\n\r\n", "GET /"
takes "1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /"
takes "1.0 with keep-alive in a list", "GET / HTTP/1.0\r\nConnection: keep-alive, TE\r\n\r\n", "GET /"
takes_last "1.0 with keep-alive and close", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET /"
takes_last "1.0 with Keep-Alive alone", "GET / HTTP/1.0\r\nKeep-Alive: timeout=5\r\n\r\n", "GET /"
takes "1.0 with a body and keep-alive", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab", "POST / ab"
takes_last "1.0 with a body", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "POST / ab"
takes_last "2.0 with keep-alive", "GET / HTTP/2.0\r\nConnection: keep-alive\r\n\r\n", "GET /"

source "RFC 9110 §7.6.1: what Connection names is for proxies; an origin server's framing never follows it"
takes "Connection: Content-Length", post("Connection: Content-Length", "Content-Length: 5", body: "hello"), "POST / hello"
takes "Connection: Transfer-Encoding", chunked("1\r\na\r\n0\r\n\r\n", "Connection: Transfer-Encoding"), "POST / a"
takes "Connection: Host", get("Connection: Host"), "GET /", env: { "SERVER_NAME" => "h" }
takes "Connection: X-Forwarded-For", get("Connection: close-not, X-Forwarded-For", "X-Forwarded-For: 1.1.1.1"), "GET /",
      env: { "HTTP_X_FORWARDED_FOR" => "1.1.1.1" }

source "RFC 9110 §7.8: Upgrade is the application's affair; nothing after it is skipped or read twice"
takes "websocket", get("Connection: Upgrade", "Upgrade: websocket"), "GET /", env: { "HTTP_UPGRADE" => "websocket" }
takes "h2c (smuggling by upgrade)", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), "GET /"
takes "h2c with a body", post("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2", body: "ab"), "POST / ab"
takes "TLS", message("OPTIONS * HTTP/1.1", "Connection: Upgrade", "Upgrade: TLS/1.0"), "OPTIONS *"
declines_last "h2's preface after an upgrade", "#{get("Connection: Upgrade", "Upgrade: h2c")}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
              501, sees: "GET /"

source "RFC 9110 §10.1.1"
takes "100-continue with the body at once", post("Expect: 100-continue", "Content-Length: 5", body: "hello"), "POST / hello", continue: true
takes "100-continue in capitals", post("Expect: 100-CONTINUE", "Content-Length: 5", body: "hello"), "POST / hello", continue: true
takes "100-continue and chunked", chunked("1\r\na\r\n0\r\n\r\n", "Expect: 100-continue"), "POST / a", continue: true
takes "100-continue without a body", get("Expect: 100-continue"), "GET /", continue: true
takes "100-continue and a length of zero", post("Expect: 100-continue", "Content-Length: 0"), "POST /", continue: true
takes_last "100-continue on 1.0 is ignored", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", "POST / ab"
takes "another expectation is ignored, as in Puma", post("Expect: a-miracle", "Content-Length: 2", body: "ab"), "POST / ab"
takes "an obfuscated one is ignored (0.CL by Expect)", "#{get("Expect: y 100-continue", "Content-Length: 5")}hello", "GET / hello"
takes "a list", post("Expect: 100-continue, x", "Content-Length: 2", body: "ab"), "POST / ab", continue: true
takes "an empty one", post("Expect:", "Content-Length: 2", body: "ab"), "POST / ab"
refuses "100-continue and a bad length", post("Expect: 100-continue", "Content-Length: +5", body: "hello")
refuses "100-continue and a bad coding", post("Expect: 100-continue", "Transfer-Encoding: cow", body: "hello"), 501
