# frozen_string_literal: true

hello = "5\r\nhello\r\n0\r\n\r\n"

source "RFC 9112 §6.1"
takes "chunked", chunked(hello), "POST / hello", env: { "CONTENT_LENGTH" => "5", "HTTP_TRANSFER_ENCODING" => nil }
takes "CHUNKED", post("Transfer-Encoding: CHUNKED", body: hello), "POST / hello"
takes "in lower case", post("transfer-encoding: chunked", body: hello), "POST / hello"
takes "white space around it", post("Transfer-Encoding: \t chunked \t", body: hello), "POST / hello"
takes "no space after the colon", post("Transfer-Encoding:chunked", body: hello), "POST / hello"
takes "gzip, chunked: the app undoes gzip, as in Puma", post("Transfer-Encoding: gzip, chunked", body: hello), "POST / hello"
takes "gzip and chunked in two fields", post("Transfer-Encoding: gzip", "Transfer-Encoding: chunked", body: hello),
      "POST / hello"

source "RFC 9110 §5.6.1.2: empty members of a list are ignored, but not for want of any other"
{ "an empty member after it" => "chunked,", "an empty member before it" => ", chunked", "white space for a member" => " , \t, chunked ,",
  "empty members between codings" => "gzip,, ,chunked" }
  .each { |what, value| takes what, post("Transfer-Encoding: #{value}", body: hello), "POST / hello" }
takes "an empty field, then chunked", post("Transfer-Encoding:", "Transfer-Encoding: chunked", body: hello), "POST / hello"
takes "chunked, then an empty field", post("Transfer-Encoding: chunked", "Transfer-Encoding:", body: hello), "POST / hello"
{ "a comma alone" => ",", "commas and white space" => " , ,, \t" }
  .each { |what, value| refuses what, post("Transfer-Encoding: #{value}", body: hello) }

source "RFC 9112 §6.3 rule 4: chunked is last, or the request is refused; Puma refuses it twice, too"
{ "gzip alone" => "gzip", "deflate alone" => "deflate", "compress alone" => "compress",
  "chunked before gzip" => "chunked, gzip", "chunked twice" => "chunked, chunked",
  "chunked twice around gzip" => "chunked, gzip, chunked", "nothing" => "", "only white space" => " \t " }
  .each { |what, value| refuses what, post("Transfer-Encoding: #{value}", body: hello) }
refuses "chunked twice in two fields", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body: hello)
refuses "chunked, then gzip in another field", post("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", body: hello)

source "RFC 9112 §6.1: a coding that is not understood is answered 501 (TE.TE obfuscations)"
{ "identity" => "identity", "xchunked" => "xchunked", "chunkedx" => "chunkedx", "chunk" => "chunk", "cow" => "cow",
  "identity, chunked" => "identity, chunked", "an unknown coding before chunked" => "cow, chunked",
  "in quotes" => "\"chunked\"", "in single quotes" => "'chunked'", "with a parameter" => "chunked;q=1",
  "with a semicolon" => "chunked;", "br" => "br", "x-gzip" => "x-gzip, chunked", "a word before it" => "a chunked",
  "an octet from 0x80 before it" => "\xFFchunked", "an octet from 0x80 after it" => "chunked\xFF",
  "a no-break space before it" => "\xA0chunked", "a long s" => "chun\u017fed".b, "a Kelvin sign" => "chun\u212aed".b,
  "an underscore after it" => "chunked_" }
  .each { |what, value| refuses what, post("Transfer-Encoding: #{value}", body: hello), 501 }
refuses "chunked, then identity in another field",
        post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body: hello)
refuses "identity, then chunked in another field",
        post("Transfer-Encoding: identity", "Transfer-Encoding: chunked", body: hello), 501

source "RFC 9112 §5: the field line (TE.TE obfuscations)"
{ "a space before the colon" => "Transfer-Encoding : chunked", "a tab before the colon" => "Transfer-Encoding\t: chunked",
  "a vertical tab before the colon" => "Transfer-Encoding\v: chunked",
  "a NUL before the colon" => "Transfer-Encoding\0: chunked", "a CR before the colon" => "Transfer-Encoding\r: chunked",
  "a vertical tab before the value" => "Transfer-Encoding:\vchunked",
  "a form feed before the value" => "Transfer-Encoding:\fchunked", "a NUL before the value" => "Transfer-Encoding: \0chunked",
  "a NUL after the value" => "Transfer-Encoding: chunked\0", "a CR before the value" => "Transfer-Encoding: \rchunked",
  "a CR after the value" => "Transfer-Encoding: chunked\r", "a backspace in the value" => "Transfer-Encoding: chunkedx\b",
  "an escape in the value" => "Transfer-Encoding: \echunked", "a DEL in the value" => "Transfer-Encoding: chunked\x7F",
  "folded before the value" => "Transfer-Encoding:\r\n chunked", "folded with a tab" => "Transfer-Encoding:\r\n\tchunked",
  "folded after the value" => "Transfer-Encoding: chunked\r\n ", "a space before the name" => " Transfer-Encoding: chunked",
  "a tab before the name" => "\tTransfer-Encoding: chunked", "a quoted name" => "\"Transfer-Encoding\": chunked",
  "a bare LF before the name" => "X: y\nTransfer-Encoding: chunked",
  "a bare CR before the name" => "X: y\rTransfer-Encoding: chunked",
  "LF CR before the name" => "X: y\n\rTransfer-Encoding: chunked", "a bare LF after the value" => "Transfer-Encoding: chunked\nX: y",
  "no colon" => "Transfer-Encoding chunked", "an equals sign" => "Transfer-Encoding= chunked",
  "an octet from 0x80 in the name" => "Transfer-Encoding\xA0: chunked", "a byte order mark" => "\xEF\xBB\xBFTransfer-Encoding: chunked" }
  .each { |what, line| refuses what, post("A: b", line, body: hello) }

source "RFC 9110 §5.1: names that are not this one never frame"
takes "an underscore in the name", post("Transfer_Encoding: chunked"), "POST /", env: { "HTTP_TRANSFER_ENCODING" => nil }
takes "an underscore beside a length", post("Transfer_Encoding: chunked", "Content-Length: 5", body: "hello"), "POST / hello"
takes "a prefix", post("X-Transfer-Encoding: chunked"), "POST /"
takes "a suffix", post("Transfer-Encodings: chunked"), "POST /"
takes "half of it", post("Transfer: chunked"), "POST /"
takes "a dash too many", post("Transfer--Encoding: chunked"), "POST /"
takes "TE is another field", post("TE: chunked"), "POST /", env: { "HTTP_TE" => "chunked" }
takes "Content-Encoding is another field", post("Content-Encoding: chunked", "Content-Length: 5", body: "hello"), "POST / hello"

source "RFC 9112 §6.1: HTTP/1.0 has no transfer codings"
refuses "on HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n#{hello}"
refuses "on HTTP/1.0 that asks to stay", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n#{hello}"
refuses "on HTTP/1.0 with a length",
        "POST / HTTP/1.0\r\nContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n#{hello}"
refuses "on HTTP/0.9", "POST / HTTP/0.9\r\nTransfer-Encoding: chunked\r\n\r\n#{hello}"
refuses "on HTTP/1.2", "POST / HTTP/1.2\r\nTransfer-Encoding: chunked\r\n\r\n#{hello}"
refuses "on HTTP/2.0", "POST / HTTP/2.0\r\nTransfer-Encoding: chunked\r\n\r\n#{hello}"

source "RFC 9112 §6.3 rule 3: with a length, chunked decides and the connection ends after it, as Puma's test wants"
takes_last "CL.TE: the length covers all", post("Content-Length: 15", "Transfer-Encoding: chunked", body: hello),
           "POST / hello", env: { "CONTENT_LENGTH" => "5" }
takes_last "TE.CL: the length covers less", post("Transfer-Encoding: chunked", "Content-Length: 4", body: hello),
           "POST / hello"
takes_last "CL.TE: a request after the last chunk is not run",
           post("Content-Length: 60", "Transfer-Encoding: chunked", body: "0\r\n\r\n#{get(target: "/smuggled")}"), "POST /"
takes_last "TE.CL: a request within a chunk is not run",
           chunked("2a\r\nGET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n\r\n0\r\n\r\n", "Content-Length: 4"),
           "POST / GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n"
takes_last "a length of zero", post("Content-Length: 0", "Transfer-Encoding: chunked", body: hello), "POST / hello"
refuses "an invalid length beside it", post("Content-Length: +5", "Transfer-Encoding: chunked", body: hello)
refuses "an invalid length after it", post("Transfer-Encoding: chunked", "Content-Length: 5, 5", body: hello)
refuses "two lengths beside it", post("Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5", body: hello)
refuses "an unknown coding beside a length", post("Content-Length: 5", "Transfer-Encoding: identity", body: "hello"), 501
refuses "an empty one beside a length", post("Content-Length: 5", "Transfer-Encoding:", body: "hello")
