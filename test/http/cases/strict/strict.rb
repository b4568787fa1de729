# frozen_string_literal: true

hello = "5\r\nhello\r\n0\r\n\r\n"

source "strict_framing: RFC 9112 §6.1, §6.3"
refuses "a length and chunked", post("Content-Length: 15", "Transfer-Encoding: chunked", body: hello)
refuses "chunked and a length", post("Transfer-Encoding: chunked", "Content-Length: 4", body: hello)
refuses "gzip, chunked", post("Transfer-Encoding: gzip, chunked", body: hello), 501
takes "chunked alone", chunked(hello), "POST / hello"
takes "a length alone", post("Content-Length: 5", body: "hello"), "POST / hello"

source "strict_host: RFC 9112 §3.2, RFC 9110 §4.2.1"
refuses "no Host", "GET / HTTP/1.1\r\n\r\n"
refuses "an empty Host", get("Host:")
refuses "a Host of white space", get("Host: \t ")
takes "an empty Host, and a target that names one", get("Host:", target: "http://h/"), "GET http://h/"
refuses "no Host, and a target that names one", "GET http://h/ HTTP/1.1\r\n\r\n"
takes "a Host", get, "GET /"
takes_last "no Host on 1.0", "GET / HTTP/1.0\r\n\r\n", "GET /"

source "RFC 9112 §2.3, RFC 9110 §15.6.6"
refuses "two digits of a major number", "GET / HTTP/01.1\r\nHost: h\r\n\r\n"
refuses "two digits of a minor number", "GET / HTTP/1.01\r\nHost: h\r\n\r\n"
refuses "HTTP/01.01", "GET / HTTP/01.01\r\nHost: h\r\n\r\n"
refuses "HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505
refuses "HTTP/0.9", "GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505
takes_last "HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", "GET /"
refuses "HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505

source "RFC 9112 §3.2: the four forms of a target"
takes "asterisk-form of OPTIONS", message("OPTIONS * HTTP/1.1"), "OPTIONS *"
refuses "asterisk-form of GET", get(target: "*")
refuses "an asterisk and a query", message("OPTIONS *?a HTTP/1.1")
refuses "authority-form of GET", get(target: "h:80")
refuses "CONNECT with a path", message("CONNECT / HTTP/1.1")
refuses "CONNECT with a URI", message("CONNECT http://h:80/ HTTP/1.1")
refuses "CONNECT without a port", message("CONNECT h HTTP/1.1")
declines_last "CONNECT", message("CONNECT h:443 HTTP/1.1"), 501
declines_last "CONNECT to an IPv6 address", message("CONNECT [::1]:443 HTTP/1.1"), 501
takes "http", get(target: "http://h/a?b"), "GET http://h/a?b"
takes "https, in capitals", get(target: "HTTPS://h"), "GET HTTPS://h"
takes "an IPv6 address", get(target: "http://[::1]:81/a"), "GET http://[::1]:81/a"
takes "a URI in a path", get(target: "/http://h/a"), "GET /http://h/a"
refuses "another scheme", get(target: "ftp://h/a")
refuses "a fragment", get(target: "/a#b")

source "RFC 3986 §2: octets of a URI"
takes "all that are legal", get(target: "/aZ0-._~!$&'()*+,;=:@/%C0%aF?aZ0-._~!$&'()*+,;=:@/?%00"),
      "GET /aZ0-._~!$&'()*+,;=:@/%C0%aF?aZ0-._~!$&'()*+,;=:@/?%00"
["|", "^", "{", "}", "`", "\\", "[", "]", "\xC3\xA4", "\xC0\xAF", "\xFF", "%", "%a", "%zz", "%0g"].each do |octets|
  refuses "#{octets.inspect} in a path", get(target: "/a#{octets}")
  refuses "#{octets.inspect} in a query", get(target: "/?a#{octets}")
  refuses "#{octets.inspect} in a URI's path", get(target: "http://h/a#{octets}")
end

source "RFC 9110 §9.3.8"
refuses "TRACE with content", "#{message("TRACE / HTTP/1.1", "Content-Length: 1")}a"
takes "TRACE", message("TRACE / HTTP/1.1"), "TRACE /"
