# frozen_string_literal: true

source "the PROXY protocol, version 1 (haproxy.org, proxy-protocol.txt §2.1)"
takes "TCP4", "PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n#{get}", "GET /", env: { "REMOTE_ADDR" => "203.0.113.9" }
takes "TCP6", "PROXY TCP6 2001:db8::9 ::1 5000 80\r\n#{get}", "GET /", env: { "REMOTE_ADDR" => "2001:db8::9" }
takes "UNKNOWN", "PROXY UNKNOWN\r\n#{get}", "GET /", env: { "REMOTE_ADDR" => "127.0.0.1" }
takes "UNKNOWN with addresses", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n#{get}", "GET /", env: { "REMOTE_ADDR" => "127.0.0.1" }
takes "none, as Puma takes it", get, "GET /", env: { "REMOTE_ADDR" => "127.0.0.1" }
takes "and every request of the connection", "PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n#{get(target: "/a")}#{get(target: "/b")}", "GET /a", "GET /b",
      env: { "REMOTE_ADDR" => "203.0.113.9" }
takes "a method that begins like it", post("Content-Length: 0"), "POST /"
takes "and an empty line after it", "PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n\r\n#{get}", "GET /"

source "only before the first request: a client behind a proxy must not be another one in its second"
refuses "before the second request", "#{get(target: "/a")}PROXY TCP4 6.6.6.6 127.0.0.1 5000 80\r\n#{get(target: "/b")}", sees: "GET /a"
refuses "twice", "PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\nPROXY TCP4 6.6.6.6 127.0.0.1 5000 80\r\n#{get}"

source "a header that is none ends the connection: nobody knows who this is"
{ "a line of 108 octets" => "PROXY UNKNOWN #{"u" * 93}\r\n", "a line without an end" => "PROXY TCP4 #{"1" * 500}", "no address" => "PROXY TCP4\r\n",
  "an unknown family" => "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "an IPv6 address for TCP4" => "PROXY TCP4 ::1 ::1 1 2\r\n",
  "a bad address" => "PROXY TCP4 1.1.1.256 127.0.0.1 1 2\r\n", "a bad port" => "PROXY TCP4 1.1.1.1 127.0.0.1 1 65536\r\n",
  "a port with a zero before it" => "PROXY TCP4 1.1.1.1 127.0.0.1 01 2\r\n", "two spaces" => "PROXY TCP4  1.1.1.1 127.0.0.1 1 2\r\n",
  "LF" => "PROXY TCP4 1.1.1.1 127.0.0.1 1 2\n", "a word too many" => "PROXY TCP4 1.1.1.1 127.0.0.1 1 2 3\r\n" }
  .each { |what, line| drops what, line + get }
refuses "in lower case", "proxy TCP4 1.1.1.1 127.0.0.1 1 2\r\n#{get}"
