# frozen_string_literal: true

source "RFC 9112 §3.2, RFC 9110 §7.2"
takes "a name", get("Host: example.com"), "GET /", env: { "SERVER_NAME" => "example.com", "SERVER_PORT" => "80" }
takes "a name and a port", get("Host: example.com:8080"), "GET /", env: { "SERVER_NAME" => "example.com", "SERVER_PORT" => "8080" }
takes "a name and an empty port", get("Host: example.com:"), "GET /", env: { "SERVER_NAME" => "example.com", "SERVER_PORT" => "80" }
takes "an IPv4 address", get("Host: 127.0.0.1:81"), "GET /", env: { "SERVER_NAME" => "127.0.0.1", "SERVER_PORT" => "81" }
takes "an IPv6 address", get("Host: [::1]"), "GET /", env: { "SERVER_NAME" => "[::1]", "SERVER_PORT" => "80" }
takes "an IPv6 address and a port", get("Host: [fe80::1]:81"), "GET /", env: { "SERVER_NAME" => "[fe80::1]", "SERVER_PORT" => "81" }
takes "an underscore", get("Host: my_app.internal"), "GET /", env: { "SERVER_NAME" => "my_app.internal" }
takes "capitals stay", get("Host: EXAMPLE.com"), "GET /", env: { "SERVER_NAME" => "EXAMPLE.com" }
takes "a last dot stays", get("Host: example.com."), "GET /", env: { "SERVER_NAME" => "example.com." }
takes "an empty one", get("Host:"), "GET /", env: { "SERVER_NAME" => "localhost" }
takes "none, as Puma takes it", "GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET /", env: { "SERVER_NAME" => "localhost", "HTTP_HOST" => nil }
takes "white space around it", get("Host: \t h \t"), "GET /", env: { "SERVER_NAME" => "h", "HTTP_HOST" => "h" }
takes "X-Forwarded-Host does not decide", get("Host: h", "X-Forwarded-Host: evil"), "GET /", env: { "SERVER_NAME" => "h" }

source "RFC 9112 §3.2: more than one, or an invalid one, is answered 400"
refuses "twice", get("Host: a", "Host: b")
refuses "twice the same", get("Host: a", "Host: a")
refuses "twice, the second empty", get("Host: a", "Host:")
refuses "twice, the first empty", get("Host:", "Host: a")
refuses "twice in different case", get("Host: a", "hOST: b")
refuses "twice with fields between", get("Host: a", "A: b", "Host: b")
{ "a space" => "a b", "a list" => "a, b", "a comma and a name" => "a,b evil", "a slash" => "a/b", "a URI" => "http://a/", "user information" => "user@a",
  "a port that is no number" => "a:80a", "a port of 65536" => "a:65536", "a signed port" => "a:+80", "a negative port" => "a:-80",
  "two ports" => "a:80:81", "a port alone" => ":80", "an IPv6 address without brackets" => "::1",
  "an open bracket" => "[::1", "a closed bracket" => "::1]", "empty brackets" => "[]", "something after the bracket" => "[::1]a",
  "a zone" => "[fe80::1%25eth0]", "a question mark" => "a?b", "a hash" => "a#b", "a backslash" => "a\\b", "quotes" => "\"a\"",
  "angle brackets" => "<script>", "an octet from 0x80" => "\xC3\xA4.example", "a bad percent sign" => "a%2", "a percent sign" => "a%zz",
  "a tab" => "a\tb", "a pipe" => "a|b", "a caret" => "a^b" }
  .each { |what, value| refuses what, get("Host: #{value}") }

source "RFC 9112 §5.1: what looks like Host and is not"
refuses "a space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n"
refuses "a folded one", "GET / HTTP/1.1\r\nHost:\r\n h\r\n\r\n"
takes "an underscore's twin", "GET / HTTP/1.1\r\nHost: h\r\nX-Host: evil\r\n\r\n", "GET /", env: { "SERVER_NAME" => "h" }
