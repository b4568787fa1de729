# frozen_string_literal: true

section "RFC 9113 §6.5"
goes_on "no settings", settings
ends "SETTINGS that acknowledges and says something", :frame_size_error, frame(:settings, ACK, 0, "\0" * 6)
ends "SETTINGS on a stream", :protocol_error, frame(:settings, 0, 1, "\0\x03\0\0\0\x64")
ends "SETTINGS of 3 octets", :frame_size_error, frame(:settings, 0, 0, "\0\x03\0")
ends "SETTINGS of 7 octets", :frame_size_error, frame(:settings, 0, 0, "\0" * 7)

section "RFC 9113 §6.5.2"
ends "ENABLE_PUSH of 2", :protocol_error, settings(2 => 2)
goes_on "ENABLE_PUSH of 0", settings(2 => 0)
goes_on "ENABLE_PUSH of 1", settings(2 => 1)
ends "a window of 2^31", :flow_control_error, settings(4 => 0x8000_0000)
goes_on "a window of 2^31 - 1", settings(4 => 0x7fff_ffff)
ends "a frame size of 16,383", :protocol_error, settings(5 => 16_383)
ends "a frame size of 2^24", :protocol_error, settings(5 => 0x100_0000)
goes_on "a frame size of 2^24 - 1", settings(5 => 0xff_ffff)
goes_on "a table of no size", settings(1 => 0)
goes_on "a table of any size", settings(1 => 0xffff_ffff)
goes_on "settings that nobody knows", settings(0xff => 1, 0 => 0, 0xffff => 0xffff_ffff)
goes_on "one setting many times", frame(:settings, 0, 0, (0..99).map { |size| [4, size].pack("nN") }.join)

section "RFC 9113 §6.5.3"
goes_on "many SETTINGS", settings * 50

section "RFC 9113 §6.7"
goes_on "PING", ping
goes_on "PING that acknowledges", ping("unasked.", ACK)
ends "PING on a stream", :protocol_error, frame(:ping, 0, 1, "12345678")
ends "PING of 6 octets", :frame_size_error, frame(:ping, 0, 0, "123456")

section "RFC 9113 §6.8"
ends "GOAWAY on a stream", :protocol_error, frame(:goaway, 0, 1, "\0" * 8)
ends "GOAWAY of 7 octets", :frame_size_error, frame(:goaway, 0, 0, "\0" * 7)
answers "a request before GOAWAY", headers(1) + frame(:goaway, 0, 0, "\0" * 8)
goes_on "GOAWAY with words", frame(:goaway, 0, 0, "#{"\0" * 8}goodbye")

section "RFC 9113 §6.9"
ends "no octets more", :protocol_error, window_update(0, 0)
resets "no octets more on a stream", :protocol_error, headers(1) + window_update(1, 0), settings: { 4 => 0 }
ends "WINDOW_UPDATE of 3 octets", :frame_size_error, frame(:window_update, 0, 0, "\0\0\x01")
ends "WINDOW_UPDATE of 5 octets on a stream", :frame_size_error,
     headers(1, POST, END_HEADERS) + frame(:window_update, 0, 1, "\0\0\0\0\x01")
goes_on "one octet more", window_update(0, 1)
goes_on "the reserved bit", window_update(0, 0x8000_0001)

section "RFC 9113 §6.9.1"
answers "a window of one octet at a time", headers(1) + (window_update(1, 1) * 5), settings: { 4 => 0 }
ends "more than 2^31 - 1", :flow_control_error, window_update(0, 0x7fff_ffff) * 2
resets "more than 2^31 - 1 on a stream", :flow_control_error,
       headers(1, POST, END_HEADERS) + window_update(1, 0x7fff_ffff)

section "RFC 9113 §6.9.2"
answers "a window that grows after the request", headers(1) + settings(4 => 1) + settings(4 => 5), settings: { 4 => 0 }
answers "a window below zero", headers(1) + settings(4 => 1) + settings(4 => 0) + settings(4 => 100),
        settings: { 4 => 3 }
ends "a window of 2^31 by SETTINGS, with streams", :flow_control_error,
     headers(1, POST, END_HEADERS) + window_update(1, 0x7fff_ffff) + settings(4 => 1), settings: { 4 => 0 }

section "RFC 7541 §2.3.3"
ends "an index that is not there", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\xbe".b)
ends "a name's index that is not there", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\x7f\x00\x01a".b)
ends "the index 0", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\x80".b)

section "RFC 7541 §4.2"
ends "a table's size at the end of a block", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\x20".b)
answers "a table's size at the beginning", frame(:headers, WHOLE, 1, "\x20".b + pack(GET))
answers "two sizes at the beginning", frame(:headers, WHOLE, 1, "\x20\x3f\xe1\x1f".b + pack(GET))

section "RFC 7541 §5.1"
ends "an integer without end", :compression_error, frame(:headers, WHOLE, 1, "\xff#{"\x80" * 10}\x01".b)

section "RFC 7541 §5.2"
ends "padding of an octet", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\x00\x01x\x82\xf3\xff".b)
ends "padding of zeros", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\x00\x01x\x81\xf2".b)
ends "nothing but padding", :compression_error, frame(:headers, WHOLE, 1, pack(GET) + "\x00\x01x\x81\xff".b)
ends "the end of a string within it", :compression_error,
     frame(:headers, WHOLE, 1, pack(GET) + "\x00\x01x\x84\xff\xff\xff\xff".b)
ends "a string that is longer than its block", :compression_error,
     frame(:headers, WHOLE, 1, "#{pack(GET)}\x00\x01x\x05abc")
answers "Huffman's code", frame(:headers, WHOLE, 1, pack(GET) + "\x00\x01x\x81\x1f".b)

section "RFC 7541 §6"
answers "fields of the static table", frame(:headers, WHOLE, 1, "\x82\x86\x84\x41\x09localhost".b)
answers "a field of the dynamic table", frame(:headers, WHOLE, 1, "\x82\x86\x84\x41\x09localhost".b) +
                                        frame(:headers, WHOLE, 3, "\x82\x86\x84\xbe".b), stream: 3
answers "one that was thrown out of it", frame(:headers, WHOLE, 1, "\x82\x86\x84\x41\x09localhost".b) +
                                         frame(:headers, WHOLE, 3, "\x20\x82\x86\x84\x01\x09localhost".b), stream: 3
ends "one that is not there any more", :compression_error,
     frame(:headers, WHOLE, 1, "\x82\x86\x84\x41\x09localhost".b) + frame(:headers, WHOLE, 3, "\x20\x82\x86\x84\xbe".b)
answers "a field that is never kept", frame(:headers, WHOLE, 1, pack(GET) + "\x10\x01x\x01y".b)

section "RFC 7541 §6.3"
ends "a table that is too large", :compression_error, frame(:headers, WHOLE, 1, "\x3f\xe2\x1f".b + pack(GET))
