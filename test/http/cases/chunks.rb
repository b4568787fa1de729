# frozen_string_literal: true

source "RFC 9112 §7.1"
takes "one chunk", chunked("5\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "no data", chunked("0\r\n\r\n"), "POST /", env: { "CONTENT_LENGTH" => "0" }
takes "several chunks", chunked("1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n"), "POST / hello"
takes "hexadecimal in capitals", chunked("A\r\n0123456789\r\n0\r\n\r\n"), "POST / 0123456789"
takes "hexadecimal in lower case", chunked("a\r\n0123456789\r\n0\r\n\r\n"), "POST / 0123456789"
takes "leading zeros", chunked("0005\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "a last chunk of many zeros", chunked("5\r\nhello\r\n0000\r\n\r\n"), "POST / hello"
takes "a chunk that looks like the end", chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "POST / 0\r\n\r\n"
takes "a chunk of CRLF", chunked("2\r\n\r\n\r\n0\r\n\r\n"), "POST / \r\n"
takes "a thousand chunks", chunked("#{"1\r\nx\r\n" * 1000}0\r\n\r\n"), "POST / #{"x" * 1000}"
takes "a large chunk", chunked("30d40\r\n#{"c" * 200_000}\r\n0\r\n\r\n"), "POST / #{"c" * 200_000}"

source "RFC 9112 §7.1: chunk-size = 1*HEXDIG"
{ "nothing" => "", "a space" => " ", "0x5" => "0x5", "a plus sign" => "+5", "a minus sign" => "-5", "minus zero" => "-0",
  "h for hexadecimal" => "5h", "a letter beyond f" => "g", "a space before it" => " 5", "a tab before it" => "\t5",
  "a word after it" => "5 x", "a dot" => "5.0", "a comma" => "5,", "an underscore" => "0_5", "a NUL before it" => "\0005",
  "a NUL after it" => "5\0", "a quote" => "\"5\"", "17 digits" => "00000000000000005", "2 to the 64" => "10000000000000000",
  "2 to the 64 and five" => "10000000000000005", "two thirds of 2 to the 64" => "aaaaaaaaaaaaaaaaa",
  "4096 zeros" => "#{"0" * 4096}5", "a full-width digit" => "\uff15".b, "an octet from 0x80" => "\xFF" }
  .each { |what, size| refuses what, chunked("#{size}\r\nhello\r\n0\r\n\r\n") }

source "RFC 9112 §7.1: lines end in CRLF (bare LF in chunk lines: CVE-2024-21647's relatives, TERM.EXT and EXT.TERM)"
{ "LF after the size" => "5\nhello\r\n0\r\n\r\n", "CR after the size" => "5\rhello\r\n0\r\n\r\n",
  "CR CR LF after the size" => "5\r\r\nhello\r\n0\r\n\r\n", "LF CR after the size" => "5\n\rhello\r\n0\r\n\r\n",
  "LF after the data" => "5\r\nhello\n0\r\n\r\n", "CR after the data" => "5\r\nhello\r0\r\n\r\n",
  "nothing after the data" => "5\r\nhello0\r\n\r\n", "two octets of any kind after the data" => "5\r\nhelloXX0\r\n\r\n",
  "a space after the data" => "5\r\nhello \r\n0\r\n\r\n", "an empty line after the data" => "5\r\nhello\r\n\r\n0\r\n\r\n",
  "less data than announced" => "6\r\nhello\r\n0\r\n\r\n", "more data than announced" => "4\r\nhello\r\n0\r\n\r\n",
  "LF after the last size" => "5\r\nhello\r\n0\n\r\n", "CR after the last size" => "5\r\nhello\r\n0\r\r\n",
  "LF for the last line" => "5\r\nhello\r\n0\r\n\n", "a second size in the line's CR" => "2\r\rxx\r\n0\r\n\r\n" }
  .each { |what, body| refuses what, chunked(body) }

source "RFC 9112 §7.1.1: extensions are ignored; bounded (CVE-2024-21647)"
takes "a name", chunked("5;a\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "a name and a value", chunked("5;a=b\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "several", chunked("5;a=b;c;d=e\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "white space around everything", chunked("5 ; a = b\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "a quoted value", chunked("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "a quoted value with a quote", chunked("5;a=\"b\\\"c\"\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "on the last chunk", chunked("5\r\nhello\r\n0;a=b\r\n\r\n"), "POST / hello"
takes "an empty quoted value", chunked("5;a=\"\"\r\nhello\r\n0\r\n\r\n"), "POST / hello"
takes "a line of 4000 octets", chunked("5;a=#{"x" * 3990}\r\nhello\r\n0\r\n\r\n"), "POST / hello"
refuses "a line of 5000 octets", chunked("5;a=#{"x" * 5000}\r\nhello\r\n0\r\n\r\n")
refuses "a line without an end", chunked("5;a=#{"x" * 200_000}")
refuses "20,000 octets of extensions together", chunked("#{"1;a=#{"x" * 2000}\r\nh\r\n" * 10}0\r\n\r\n")
{ "no name" => "5;", "no name before the equals sign" => "5;=b", "no value" => "5;a=", "a second semicolon" => "5;;a",
  "a space in the name" => "5;a b", "an open quote" => "5;a=\"b", "a value after a quoted one" => "5;a=\"b\"c",
  "a control octet" => "5;a=\x01", "a NUL" => "5;a\0", "an LF" => "5;a\nX", "an LF in quotes" => "5;a=\"\n\"",
  "a CR" => "5;a\rX", "a CR in quotes" => "5;a=\"\r\"", "an octet from 0x80 in a name" => "5;\xFF" }
  .each { |what, line| refuses "extension: #{what}", chunked("#{line}\r\nhello\r\n0\r\n\r\n") }

source "RFC 9112 §7.1.2, RFC 9110 §6.5.1: trailers are dropped, never merged"
takes "one trailer", chunked("5\r\nhello\r\n0\r\nX-T: t\r\n\r\n"), "POST / hello", env: { "HTTP_X_T" => nil }
takes "several trailers", chunked("0\r\nA: b\r\nC: d\r\n\r\n"), "POST /", env: { "HTTP_A" => nil, "HTTP_C" => nil }
takes "a trailer of Content-Length", chunked("5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n"), "POST / hello",
      env: { "CONTENT_LENGTH" => "5" }
takes "a trailer of Transfer-Encoding", chunked("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), "POST / hello"
takes "a trailer of Host", chunked("0\r\nHost: evil\r\n\r\n"), "POST /", env: { "HTTP_HOST" => "h", "SERVER_NAME" => "h" }
takes "a trailer of Connection", chunked("0\r\nConnection: close\r\n\r\n"), "POST /"
takes "a trailer of Authorization", chunked("0\r\nAuthorization: a\r\n\r\n"), "POST /", env: { "HTTP_AUTHORIZATION" => nil }
takes "a trailer of a field that the head has", chunked("0\r\nX-Real-Ip: 6.6.6.6\r\n\r\n", "X-Real-Ip: 1.1.1.1"), "POST /",
      env: { "HTTP_X_REAL_IP" => "1.1.1.1" }
takes "CVE-2024-45614's trailers: a name with an underscore", chunked("0\r\nX_Real_Ip: 6.6.6.6\r\n\r\n"), "POST /",
      env: { "HTTP_X_REAL_IP" => nil }

source "CVE-2023-40175: what follows the last chunk is a trailer, up to the empty line, and nothing else"
refuses "a request line for a trailer", chunked("0\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
takes "a request line for a trailer's value", chunked("0\r\nX:POST / HTTP/1.1\r\nHost: h\r\n\r\n"), "POST /"
refuses "a trailer without a colon", chunked("0\r\nnonsense\r\n\r\n")
refuses "a trailer with a space before the colon", chunked("0\r\nA : b\r\n\r\n")
refuses "a trailer with a space before the name", chunked("0\r\n A: b\r\n\r\n")
refuses "a folded trailer", chunked("0\r\nA: b\r\n c\r\n\r\n")
refuses "a trailer that ends in LF", chunked("0\r\nA: b\n\r\n")
refuses "a trailer with a bare CR", chunked("0\r\nA: b\rC: d\r\n\r\n")
refuses "a trailer with a NUL", chunked("0\r\nA: \0\r\n\r\n")
refuses "a trailer without a name", chunked("0\r\n: b\r\n\r\n")
refuses "trailers of 20,000 octets", chunked("0\r\n#{"A: #{"b" * 1000}\r\n" * 20}\r\n")
refuses "a trailer without an end", chunked("0\r\nA: #{"b" * 200_000}")
refuses "a thousand trailers", chunked("0\r\n#{"A: b\r\n" * 1000}\r\n")

source "RFC 9112 §8: an incomplete message is not run"
waits "no chunk yet", chunked("")
waits "half a size", chunked("5")
waits "a size", chunked("5\r\n")
waits "half the data", chunked("5\r\nhel")
waits "the data", chunked("5\r\nhello")
waits "the data and CR", chunked("5\r\nhello\r")
waits "no last chunk", chunked("5\r\nhello\r\n")
waits "half a last chunk", chunked("5\r\nhello\r\n0\r\n")
waits "half an empty line", chunked("5\r\nhello\r\n0\r\n\r")
waits "half a trailer", chunked("5\r\nhello\r\n0\r\nA: b\r\n")
