# frozen_string_literal: true

signature = "\r\n\r\n\0\r\nQUIT\n".b
header = ->(command, family, payload) { signature + [command, family, payload.bytesize].pack("CCn") + payload }
tcp4 = [203, 0, 113, 9, 127, 0, 0, 1, 5000, 80].pack("C8n2")
tcp6 = ([0x20, 0x01, 0x0d, 0xb8] + ([0] * 11) + [9] + ([0] * 15) + [1]).pack("C*") + [5000, 80].pack("n2")

source "the PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt §2.2)"
takes "TCP over IPv4", header.(0x21, 0x11, tcp4) + get, "GET /", env: { "REMOTE_ADDR" => "203.0.113.9" }
takes "TCP over IPv6", header.(0x21, 0x21, tcp6) + get, "GET /", env: { "REMOTE_ADDR" => "2001:db8::9" }
takes "LOCAL", header.(0x20, 0x00, "") + get, "GET /", env: { "REMOTE_ADDR" => "127.0.0.1" }
takes "type-length-values after the addresses", header.(0x21, 0x11, tcp4 + "\x02\x00\x05hello".b) + get, "GET /", env: { "REMOTE_ADDR" => "203.0.113.9" }
takes "none", get, "GET /", env: { "REMOTE_ADDR" => "127.0.0.1" }
takes "an empty line, as before any request", "\r\n#{get}", "GET /"

source "a header that is none ends the connection"
drops "another version", header.(0x31, 0x11, tcp4) + get
drops "another command", header.(0x22, 0x11, tcp4) + get
drops "addresses cut short", header.(0x21, 0x11, tcp4[0, 8]) + get
drops "a length beyond the bound", signature + [0x21, 0x11, 65_535].pack("CCn") + ("x" * 65_535) + get
refuses "version 1", "PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n#{get}"
