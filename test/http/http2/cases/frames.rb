# frozen_string_literal: true

section "RFC 9113 §3.4"
ends "the first frame is PING", :protocol_error, "", preface: PREFACE + frame(:ping, 0, 0, "12345678")
ends "the first frame is no SETTINGS but HEADERS", :protocol_error, "", preface: PREFACE + headers(1)
ends "the first frame is a SETTINGS that acknowledges", :protocol_error, "",
     preface: PREFACE + frame(:settings, ACK, 0)
ends "the first frame is of an unknown type", :protocol_error, "", preface: PREFACE + frame(0x99, 0, 0, "x")
answers "a request at once", headers(1)
answers "three requests at once, the last of them", headers(1) + headers(3) + headers(5), stream: 5

section "RFC 9113 §4.1"
goes_on "a frame of an unknown type", frame(0x16, 0, 0, "\0" * 8)
goes_on "a frame of an unknown type on a stream that has not begun", frame(0xfe, 0xff, 77, "x" * 100)
goes_on "an empty frame of an unknown type", frame(0x16, 0, 0)
goes_on "flags that are not defined", ping("abcdefgh", 0x16)
answers "flags of HEADERS that are not defined", headers(1, GET, WHOLE | 0x40 | 0x10 | 2)
goes_on "the reserved bit", frame(:ping, 0, 0x8000_0000, "12345678")
answers "the reserved bit of a stream", frame(:headers, WHOLE, 0x8000_0001, pack(GET))

section "RFC 9113 §4.2"
answers "DATA of 16,384 octets", headers(1, POST, END_HEADERS) + data(1, "x" * 16_384)
answers "HEADERS of 16,384 octets", headers(1, GET + [["x", "y" * (16_384 - pack(GET + [["x", ""]]).bytesize - 2)]])
ends "DATA that is larger", :frame_size_error, headers(1, POST, END_HEADERS) + data(1, "x" * 16_385)
ends "HEADERS that are larger", :frame_size_error, frame(:headers, WHOLE, 1, pack(GET + [["x", "y" * 16_384]]))
ends "a larger one of an unknown type", :frame_size_error, frame(0x20, 0, 0, "x" * 16_385)
ends "its head alone", :frame_size_error, frame(:data, 0, 1, "", length: 0xff_ffff)
ends "PING of 7 octets", :frame_size_error, ping("1234567")
ends "PING of 9 octets", :frame_size_error, ping("123456789")

section "RFC 9113 §4.3"
ends "a block that is no HPACK", :compression_error, frame(:headers, WHOLE, 1, "\x80")
ends "a block that ends in a field", :compression_error, frame(:headers, WHOLE, 1, "\x00\x05abc")
ends "PRIORITY within a block", :protocol_error, headers(1, GET, END_STREAM) + frame(:priority, 0, 1, "\0\0\0\0\x10")
ends "HEADERS of another stream within a block", :protocol_error, headers(1, GET, END_STREAM) + headers(3)
ends "PING within a block", :protocol_error, headers(1, GET, END_STREAM) + ping
ends "SETTINGS within a block", :protocol_error, headers(1, GET, END_STREAM) + settings

section "RFC 9113 §5.1, idle"
ends "DATA", :protocol_error, data(1, "x")
ends "RST_STREAM", :protocol_error, rst_stream(1)
ends "WINDOW_UPDATE", :protocol_error, window_update(1, 100)
ends "CONTINUATION", :protocol_error, frame(:continuation, END_HEADERS, 1, pack(GET))
goes_on "PRIORITY", frame(:priority, 0, 5, "\0\0\0\0\x10")
ends "DATA on a stream of the server's", :protocol_error, data(2, "x")
ends "RST_STREAM of a stream of the server's", :protocol_error, rst_stream(2)
ends "WINDOW_UPDATE of a stream of the server's", :protocol_error, window_update(4, 1)

section "RFC 9113 §5.1, half-closed (remote)"
resets "DATA", :stream_closed, headers(1) + data(1, "x"), settings: { 4 => 0 }
resets "HEADERS", :stream_closed, headers(1) + headers(1), settings: { 4 => 0 }
ends "CONTINUATION", %i[stream_closed protocol_error], headers(1) + frame(:continuation, END_HEADERS, 1, pack(GET)),
     settings: { 4 => 0 }
answers "WINDOW_UPDATE", headers(1) + window_update(1, 100), settings: { 4 => 0 }
goes_on "PRIORITY", headers(1) + frame(:priority, 0, 1, "\0\0\0\0\x10"), settings: { 4 => 0 }
goes_on "RST_STREAM", headers(1) + rst_stream(1), settings: { 4 => 0 }

section "RFC 9113 §5.1, closed"
ends "DATA after RST_STREAM", :stream_closed, headers(1) + rst_stream(1) + data(1, "x"), settings: { 4 => 0 }
ends "HEADERS after RST_STREAM", :stream_closed, headers(1) + rst_stream(1) + headers(1), settings: { 4 => 0 }
ends "CONTINUATION after RST_STREAM", %i[stream_closed protocol_error],
     headers(1) + rst_stream(1) + frame(:continuation, END_HEADERS, 1, pack(GET)), settings: { 4 => 0 }
ends "DATA after the response", :stream_closed, headers(1), 1, data(1, "x")
ends "HEADERS after the response", :stream_closed, headers(1), 1, headers(1)
ends "CONTINUATION after the response", %i[stream_closed protocol_error], headers(1), 1,
     frame(:continuation, END_HEADERS, 1, pack(GET))
goes_on "RST_STREAM after the response", headers(1), 1, rst_stream(1)
goes_on "WINDOW_UPDATE after the response", headers(1), 1, window_update(1, 100)
goes_on "PRIORITY after the response", headers(1), 1, frame(:priority, 0, 1, "\0\0\0\0\x10")
goes_on "RST_STREAM twice", headers(1) + rst_stream(1) + rst_stream(1)

section "RFC 9113 §5.1.1"
ends "an even number", :protocol_error, headers(2)
ends "the number 0", :protocol_error, headers(0)
ends "a smaller number than the last", :protocol_error, headers(5), 5, headers(3)
answers "numbers may be left out", headers(7) + headers(77), stream: 77
answers "the largest number", headers(0x7fff_ffff), stream: 0x7fff_ffff

section "RFC 9113 §5.1.2"
resets "one stream more than the server takes", :refused_stream, (0..100).map { |at| headers((at * 2) + 1) }.join,
       stream: 201, settings: { 4 => 0 }
answers "as many as the server takes, the last of them", (0..99).map { |at| headers((at * 2) + 1) }.join, stream: 199
resets "those count whose bodies are on their way", :refused_stream,
       (0..99).map { |at| headers((at * 2) + 1, POST, END_HEADERS) }.join + headers(201), stream: 201

section "RFC 7540 §5.3.1"
resets "HEADERS of a stream that depends on itself", :protocol_error,
       headers(1, GET, WHOLE | PRIORITY, before: "\0\0\0\x01\x10")
resets "PRIORITY of an open stream that depends on itself", :protocol_error,
       headers(1) + frame(:priority, 0, 1, "\0\0\0\x01\x10"), settings: { 4 => 0 }
ends "PRIORITY of another one that depends on itself", :protocol_error, frame(:priority, 0, 3, "\0\0\0\x03\x10")
answers "HEADERS with a priority", headers(1, GET, WHOLE | PRIORITY, before: "\x80\0\0\x09\xff")

section "RFC 9113 §5.4.1"
ends "a mistake ends the connection", :protocol_error, frame(:ping, 0, 1, "12345678")
ends "nothing is heeded after it", :protocol_error, frame(:ping, 0, 1, "12345678") + frame(:settings, 0, 0, "x")

section "RFC 9113 §5.5"
ends "a frame of an unknown type within a block", :protocol_error, headers(1, GET, END_STREAM) + frame(0x16, 0, 1, "x")
