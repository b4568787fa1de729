# frozen_string_literal: true

section "RFC 9113 §6.1"
ends "DATA on stream 0", :protocol_error, data(0, "x")
ends "padding as long as the frame", :protocol_error,
     headers(1, POST, END_HEADERS) + data(1, "\x05test", END_STREAM | PADDED)
ends "padding longer than the frame", :protocol_error,
     headers(1, POST, END_HEADERS) + data(1, "\xfftest".b, END_STREAM | PADDED)
ends "padding without its length", %i[frame_size_error protocol_error],
     headers(1, POST, END_HEADERS) + data(1, "", END_STREAM | PADDED)
answers "padding", headers(1, POST, END_HEADERS) + data(1, "\x05test\0\0\0\0\0", END_STREAM | PADDED)
answers "nothing but padding", headers(1, POST, END_HEADERS) + data(1, "\x05\0\0\0\0\0", END_STREAM | PADDED)
answers "an empty end", headers(1, POST, END_HEADERS) + data(1, "test", 0) + data(1, "")
answers "a body in parts", headers(1, POST, END_HEADERS) + %w[a b c].map { |part| data(1, part, 0) }.join + data(1, "d")
answers "bodies in turns",
        headers(1, POST, END_HEADERS) + headers(3, POST, END_HEADERS) + data(3, "a", 0) + data(1, "b") +
        data(3, "c"), stream: 3

section "RFC 9113 §6.2"
ends "HEADERS on stream 0", :protocol_error, headers(0)
ends "padding as long as the frame", :protocol_error,
     frame(:headers, WHOLE | PADDED, 1, [pack(GET).bytesize + 1].pack("C") + pack(GET))
ends "padding without its length", %i[frame_size_error protocol_error], frame(:headers, WHOLE | PADDED, 1)
ends "a priority that is too short", %i[frame_size_error protocol_error], frame(:headers, WHOLE | PRIORITY, 1, "\0\0\0")
ends "a priority within the padding", %i[frame_size_error protocol_error],
     frame(:headers, WHOLE | PRIORITY | PADDED, 1, "\x06\0\0\0\0\0\0\0\0")
answers "padding", frame(:headers, WHOLE | PADDED, 1, "\x05#{pack(GET)}#{"\0" * 5}")
answers "padding and a priority",
        frame(:headers, WHOLE | PADDED | PRIORITY, 1, "\x05\0\0\0\0\x10#{pack(GET)}#{"\0" * 5}")
answers "no octet of a block before CONTINUATION",
        headers(1, [], END_STREAM) + frame(:continuation, END_HEADERS, 1, pack(GET))
resets "an empty block", :protocol_error, frame(:headers, WHOLE, 1)

section "RFC 9113 §6.3"
ends "PRIORITY on stream 0", :protocol_error, frame(:priority, 0, 0, "\0\0\0\0\x10")
resets "PRIORITY of 4 octets", :frame_size_error, headers(1) + frame(:priority, 0, 1, "\0\0\0\0"), settings: { 4 => 0 }
resets "PRIORITY of 6 octets", :frame_size_error, headers(1) + frame(:priority, 0, 1, "\0" * 6), settings: { 4 => 0 }

section "RFC 9113 §6.4"
ends "RST_STREAM on stream 0", :protocol_error, rst_stream(0)
ends "RST_STREAM of a stream that has not begun", :protocol_error, rst_stream(1)
ends "RST_STREAM of 3 octets", :frame_size_error, headers(1) + frame(:rst_stream, 0, 1, "\0\0\0"), settings: { 4 => 0 }
ends "RST_STREAM of 5 octets", :frame_size_error, headers(1) + frame(:rst_stream, 0, 1, "\0" * 5), settings: { 4 => 0 }
goes_on "RST_STREAM in the middle of a body", headers(1, POST, END_HEADERS) + data(1, "x", 0) + rst_stream(1)
goes_on "RST_STREAM for a reason that nobody knows",
        headers(1, POST, END_HEADERS) + frame(:rst_stream, 0, 1, "\xff" * 4)

section "RFC 9113 §6.6"
ends "PUSH_PROMISE", :protocol_error, frame(:push_promise, END_HEADERS, 1, "\0\0\0\x02#{pack(GET)}")
ends "PUSH_PROMISE on a stream that is open", :protocol_error,
     headers(1, POST, END_HEADERS) + frame(:push_promise, END_HEADERS, 1, "\0\0\0\x02#{pack(GET)}")

section "RFC 9113 §6.10"
answers "CONTINUATION", headers(1, GET.first(2), END_STREAM) + frame(:continuation, 0, 1, pack(GET[2..2])) +
                        frame(:continuation, END_HEADERS, 1, pack(GET[3..]))
ends "another frame between", :protocol_error,
     headers(1, GET.first(2), END_STREAM) + frame(:continuation, 0, 1, pack(GET[2..2])) + data(1, "x")
ends "CONTINUATION on stream 0", :protocol_error,
     headers(1, GET.first(2), END_STREAM) + frame(:continuation, END_HEADERS, 0, pack(GET[2..]))
ends "CONTINUATION of another stream", :protocol_error,
     headers(1, GET.first(2), END_STREAM) + frame(:continuation, END_HEADERS, 3, pack(GET[2..]))
ends "CONTINUATION after a block that is whole", :protocol_error,
     headers(1, POST, END_HEADERS) + frame(:continuation, END_HEADERS, 1, pack(GET))
ends "CONTINUATION after another that ends the block", :protocol_error,
     headers(1, POST.first(2), 0) + frame(:continuation, END_HEADERS, 1, pack(POST[2..])) +
     frame(:continuation, END_HEADERS, 1, "")
ends "CONTINUATION after DATA", :protocol_error,
     headers(1, POST, END_HEADERS) + data(1, "x", 0) + frame(:continuation, END_HEADERS, 1, pack(GET))

section "RFC 9113 §8.1"
answers "trailers", headers(1, POST, END_HEADERS) + data(1, "x", 0) + headers(1, [%w[x-checksum 1]])
answers "trailers without a body", headers(1, POST, END_HEADERS) + headers(1, [%w[x-checksum 1]])
resets "trailers that do not end the stream", :protocol_error,
       headers(1, POST, END_HEADERS) + headers(1, [%w[x 1]], END_HEADERS)
resets "a pseudo-header field in trailers", :protocol_error,
       headers(1, POST, END_HEADERS) + headers(1, [%w[:method GET]])
resets "a name in upper case in trailers", :protocol_error, headers(1, POST, END_HEADERS) + headers(1, [%w[X 1]])
resets "Connection in trailers", :protocol_error, headers(1, POST, END_HEADERS) + headers(1, [%w[connection x]])

section "RFC 9113 §8.1.1"
resets "a body longer than its length", :protocol_error,
       headers(1, POST + [%w[content-length 1]], END_HEADERS) + data(1, "test")
resets "a body shorter than its length", :protocol_error,
       headers(1, POST + [%w[content-length 5]], END_HEADERS) + data(1, "test")
resets "a longer body in parts", :protocol_error,
       headers(1, POST + [%w[content-length 1]], END_HEADERS) + data(1, "te", 0)
resets "a shorter body in parts", :protocol_error,
       headers(1, POST + [%w[content-length 5]], END_HEADERS) + data(1, "te", 0) + data(1, "st")
resets "a shorter body before trailers", :protocol_error,
       headers(1, POST + [%w[content-length 5]], END_HEADERS) + data(1, "test", 0) + headers(1, [%w[x 1]])
resets "a length without a body", :protocol_error, headers(1, POST + [%w[content-length 5]])
answers "a body of its length", headers(1, POST + [%w[content-length 4]], END_HEADERS) + data(1, "test")
answers "a length of 0 without a body", headers(1, POST + [%w[content-length 0]])
answers "one length twice",
        headers(1, POST + [%w[content-length 4], %w[content-length 4]], END_HEADERS) + data(1, "test")
resets "two lengths", :protocol_error,
       headers(1, POST + [%w[content-length 4], %w[content-length 5]], END_HEADERS) + data(1, "test")
["-1", "+4", "4x", "4, 4", "", "0x4", "99999999999999999999", "4 4"].each do |length|
  resets "the length #{length.inspect}", :protocol_error,
         headers(1, POST + [["content-length", length]], END_HEADERS) + data(1, "test")
end

section "RFC 9113 §8.2"
resets "a name in upper case", :protocol_error, headers(1, fields("X-A" => "b"))
["", "a b", "a:b", "a\0b", "a\r\nb", "\x7f", "\u00e9", "a(b", "a\"b"].each do |name|
  resets "the name #{name.inspect}", :protocol_error, headers(1, fields(name => "b"))
end
["\0", "a\nb", "a\rb", "a\r\n\r\nGET / HTTP/1.1", " a", "a ", "\ta", "a\t"].each do |value|
  resets "the value #{value.inspect}", :protocol_error, headers(1, fields("x" => value))
end
answers "a value that is empty", headers(1, fields("x" => ""))
answers "a value that is not ASCII", headers(1, fields("x" => "\u00e9"))
answers "DEL in a value, as in HTTP/1.1", headers(1, fields("x" => "a\x7f")), status: [200, 400]

section "RFC 9113 §8.2.2"
{ "connection" => "close", "proxy-connection" => "keep-alive", "keep-alive" => "timeout=5", "upgrade" => "h2c",
  "transfer-encoding" => "chunked", "te" => "gzip" }.each do |name, value|
  resets "#{name}: #{value}", :protocol_error, headers(1, fields(name => value))
end
resets "TE: trailers, deflate", :protocol_error, headers(1, fields("te" => "trailers, deflate"))
answers "TE: trailers", headers(1, fields("te" => "trailers"))
