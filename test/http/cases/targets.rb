# frozen_string_literal: true

source "RFC 9112 §3.2.1: origin-form"
takes "a path", get(target: "/a/b"), "GET /a/b", env: { "PATH_INFO" => "/a/b", "QUERY_STRING" => "" }
takes "a query", get(target: "/a?b=c"), "GET /a?b=c", env: { "PATH_INFO" => "/a", "QUERY_STRING" => "b=c" }
takes "an empty query", get(target: "/a?"), "GET /a?", env: { "PATH_INFO" => "/a", "QUERY_STRING" => "" }
takes "two question marks", get(target: "/a?b?c"), "GET /a?b?c", env: { "QUERY_STRING" => "b?c" }
takes "percent signs stay", get(target: "/%2e%2E/%00%0d%0a?%zz"), "GET /%2e%2E/%00%0d%0a?%zz",
      env: { "PATH_INFO" => "/%2e%2E/%00%0d%0a" }
takes "dots stay", get(target: "/../../etc/passwd"), "GET /../../etc/passwd", env: { "PATH_INFO" => "/../../etc/passwd" }
takes "two slashes are no authority", get(target: "//evil/x"), "GET //evil/x", env: { "PATH_INFO" => "//evil/x", "SERVER_NAME" => "h" }
takes "a path that looks like a URI", get(target: "/http://evil/"), "GET /http://evil/", env: { "SERVER_NAME" => "h" }
takes "an at sign", get(target: "/a@b:c"), "GET /a@b:c"
takes "a semicolon", get(target: "/a;b=c"), "GET /a;b=c"
takes "what browsers send raw", get(target: "/a|b^c{d}`[e]\\"), "GET /a|b^c{d}`[e]\\"
takes "UTF-8", get(target: "/\xC3\xA4?\xE2\x82\xAC"), "GET /\xC3\xA4?\xE2\x82\xAC"
takes "octets that are not UTF-8", get(target: "/\xFF\x80"), "GET /\xFF\x80"
takes "a fragment, which Puma hands over", get(target: "/a#b"), "GET /a", env: { "FRAGMENT" => "b" }
takes "a query and a fragment", get(target: "/a?b#c"), "GET /a?b", env: { "QUERY_STRING" => "b", "FRAGMENT" => "c" }
takes "a path of 8192 octets", get(target: "/#{"p" * 8191}"), "GET /#{"p" * 8191}"
takes "a query of 10 KiB", get(target: "/?#{"q" * 10_240}"), "GET /?#{"q" * 10_240}"

source "Puma's grammar of targets, RFC 9112 §3"
(0..32).to_a.push(0x22, 0x3C, 0x3E, 0x7F).each do |octet|
  refuses format("octet 0x%02x in a path", octet), "GET /a#{octet.chr}b HTTP/1.1\r\nHost: h\r\n\r\n"
  refuses format("octet 0x%02x in a query", octet), "GET /?a#{octet.chr}b HTTP/1.1\r\nHost: h\r\n\r\n"
end
refuses "a second fragment", get(target: "/a#b#c")
refuses "a target in none of the four forms", get(target: "a/b")
refuses "a target that starts with a dot", get(target: "./a")
refuses "a target of a question mark", get(target: "?a=b")
refuses "a target of a fragment", get(target: "#a")
refuses "a target of a backslash", get(target: "\\a")

source "RFC 9110 §15.5.15: a target that is longer than the limit"
refuses "a path of 8193 octets", get(target: "/#{"p" * 8192}"), 414
refuses "a query of 10 KiB and one octet", get(target: "/?#{"q" * 10_241}"), 414
refuses "a fragment of 1025 octets", get(target: "/##{"f" * 1025}"), 414
refuses "a target of 12 KiB and one octet", get(target: "/#{"p" * 6000}?#{"q" * 6287}"), 414
refuses "a URI whose path has 8193 octets", get(target: "http://h/#{"p" * 8192}"), 414
refuses "a path without an end", "GET /#{"p" * 200_000}", 414
refuses "a query without an end", "GET /?#{"q" * 200_000}", 414

source "RFC 9112 §3.2.2: absolute-form, and its host replaces Host"
takes "a URI", get(target: "http://h/a?b"), "GET http://h/a?b", env: { "PATH_INFO" => "/a", "QUERY_STRING" => "b", "SERVER_NAME" => "h" }
takes "another host than the field's", get("Host: h", target: "http://real:81/a"), "GET http://real:81/a",
      env: { "SERVER_NAME" => "real", "SERVER_PORT" => "81", "HTTP_HOST" => "real:81" }
takes "https", get(target: "https://h/a"), "GET https://h/a", env: { "PATH_INFO" => "/a" }
takes "the scheme in capitals", get(target: "HTTP://h/a"), "GET HTTP://h/a", env: { "PATH_INFO" => "/a" }
takes "no path", get(target: "http://h"), "GET http://h", env: { "PATH_INFO" => "/" }
takes "no path, but a query", get(target: "http://h?a=b"), "GET http://h?a=b", env: { "PATH_INFO" => "/", "QUERY_STRING" => "a=b" }
takes "an IPv6 address", get(target: "http://[::1]:81/a"), "GET http://[::1]:81/a", env: { "SERVER_NAME" => "[::1]", "SERVER_PORT" => "81" }
takes "two slashes in its path", get(target: "http://h//a"), "GET http://h//a", env: { "PATH_INFO" => "//a" }
refuses "no host", get(target: "http:///a")
refuses "a port alone", get(target: "http://:80/a")
refuses "user information", get(target: "http://h@evil/a")
refuses "user information with a password", get(target: "http://a:b@evil/")
refuses "a port that is no number", get(target: "http://h:8a/")
refuses "a port of 65536", get(target: "http://h:65536/")
refuses "an open bracket", get(target: "http://[::1/a")
refuses "one slash", get(target: "http:/h/a")
refuses "a backslash in the host", get(target: "http://h\\evil/a")
refuses "a space in the host", "GET http://h evil/ HTTP/1.1\r\nHost: h\r\n\r\n"
refuses "two Hosts, and a URI that would decide", get("Host: a", "Host: b", target: "http://c/")
refuses "an invalid Host, and a URI that would decide", get("Host: a b", target: "http://c/")

source "RFC 9112 §3.2.3, §3.2.4"
takes "asterisk-form of OPTIONS", message("OPTIONS * HTTP/1.1"), "OPTIONS *", env: { "PATH_INFO" => "*" }
refuses_or_takes "asterisk-form of GET", get(target: "*"), 400, "GET *"
refuses "an asterisk and more", get(target: "*a")
refuses_or_takes "authority-form of GET", get(target: "h:80"), 400, "GET h:80"
