# frozen_string_literal: true

source "RFC 9110 §8.6"
takes "zero", post("Content-Length: 0"), "POST /", env: { "CONTENT_LENGTH" => "0" }
takes "the length of the body", post("Content-Length: 5", body: "hello"), "POST / hello", env: { "CONTENT_LENGTH" => "5" }
takes "leading zeros", post("Content-Length: 0005", body: "hello"), "POST / hello"
takes "white space around it", post("Content-Length: \t 5 \t", body: "hello"), "POST / hello"
takes "no space after the colon", post("Content-Length:5", body: "hello"), "POST / hello"
takes "in capitals", post("CONTENT-LENGTH: 5", body: "hello"), "POST / hello"
takes "in lower case", post("content-length: 5", body: "hello"), "POST / hello"
takes "none: a POST without a body", post, "POST /", env: { "CONTENT_LENGTH" => nil }
takes "a body that looks like a request", post("Content-Length: 31", body: "GET /smuggled HTTP/1.1\r\nA: b\r\n\r\n"[0, 31]),
      "POST / #{"GET /smuggled HTTP/1.1\r\nA: b\r\n\r\n"[0, 31]}"
takes "a body of CRLFs", post("Content-Length: 4", body: "\r\n\r\n"), "POST / \r\n\r\n"
takes "a body of NULs", post("Content-Length: 3", body: "\0\0\0"), "POST / \0\0\0"
takes "a body of every octet", post("Content-Length: 256", body: (0..255).map(&:chr).join.b),
      "POST / #{(0..255).to_a.pack("C*").force_encoding("BINARY")}".b
takes "a body in memory", post("Content-Length: 100000", body: "m" * 100_000), "POST / #{"m" * 100_000}"
takes "a body in a file", post("Content-Length: 200000", body: "f" * 200_000), "POST / #{"f" * 200_000}"

source "RFC 9112 §6.3 rule 5: an invalid Content-Length is an unrecoverable error"
{ "a plus sign" => "+5", "a minus sign" => "-5", "minus zero" => "-0", "nothing" => "", "only white space" => " \t ",
  "a hexadecimal number" => "0x5", "a fraction" => "5.0", "an exponent" => "5e0", "a word" => "five",
  "a word after it" => "5 five", "a letter after it" => "5a", "a list" => "5, 5", "a list of different ones" => "5, 6",
  "a list without spaces" => "5,5", "an empty member after it" => "5,", "an empty member before it" => ",5",
  "a semicolon" => "5;", "a quoted number" => "\"5\"", "an underscore" => "1_0", "a space within" => "1 0",
  "a vertical tab before it" => "\v5", "a form feed after it" => "5\f", "a NUL after it" => "5\0",
  "a no-break space before it" => "\u00a05".b, "an Arabic digit" => "\u0665".b, "a full-width digit" => "\uff15".b,
  "2 to the 64" => "18446744073709551616", "2 to the 64 and the body's length" => "18446744073709551621",
  "2 to the 128" => "340282366920938463463374607431768211456", "a thousand nines" => "9" * 1000 }
  .each { |what, value| refuses what, post("Content-Length: #{value}", body: "hello") }
refuses "twice the same", post("Content-Length: 5", "Content-Length: 5", body: "hello")
refuses "twice, different", post("Content-Length: 5", "Content-Length: 6", body: "hello")
refuses "twice, in different case", post("Content-Length: 5", "content-length: 5", body: "hello")
refuses "twice, with a field between", post("Content-Length: 5", "A: b", "Content-Length: 5", body: "hello")
refuses "twice, the second empty", post("Content-Length: 5", "Content-Length:", body: "hello")
refuses "twice, the first empty", post("Content-Length:", "Content-Length: 5", body: "hello")
refuses "zero, and then the body's", post("Content-Length: 0", "Content-Length: 31", body: get)
refuses "on a GET, invalid all the same", get("Content-Length: x")

source "RFC 9112 §5.1: no white space between name and colon"
refuses "a space before the colon", post("Content-Length : 5", body: "hello")
refuses "a tab before the colon", post("Content-Length\t: 5", body: "hello")
refuses "a vertical tab before the colon", post("Content-Length\v: 5", body: "hello")
refuses "a NUL before the colon", post("Content-Length\0: 5", body: "hello")
refuses "a space before the name", post("A: b", " Content-Length: 5", body: "hello")

source "CL.0: a length that is not believed; RFC 9112 §6.3"
takes "a GET's body is not the next request", get("Content-Length: 38") + "GET /smuggled HTTP/1.1\r\nHost: smuggle\r\n"[0, 38],
      "GET / #{"GET /smuggled HTTP/1.1\r\nHost: smuggle\r\n"[0, 38]}"
takes "an underscore never frames", post("Content_Length: 5"), "POST /", env: { "CONTENT_LENGTH" => nil }
takes "an underscore does not contradict", post("Content_Length: 2", "Content-Length: 5", body: "hello"), "POST / hello",
      env: { "CONTENT_LENGTH" => "5" }
takes "a longer name never frames", post("X-Content-Length: 5"), "POST /"
takes "a shorter name never frames", post("Length: 5"), "POST /"
waits "a body that is not all there", post("Content-Length: 10", body: "hello")
waits "a body of which nothing is there", post("Content-Length: 1")
waits "2 to the 64 less one", post("Content-Length: 18446744073709551615", body: "hello")
