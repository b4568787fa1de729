# frozen_string_literal: true

source "static: GET of a file is answered by the server, and the connection goes on"
declines "a file", get(target: "/text.txt"), 200
declines "a page without its extension", get(target: "/page"), 200
declines "a name that is encoded", get(target: "/te%78t.txt"), 200
declines "a query", get(target: "/text.txt?a=b"), 200
declines "a URI", get(target: "http://h/text.txt"), 200
declines "a request with content", message("GET /text.txt HTTP/1.1", "Content-Length: 5") + "hello", 200
declines "a request with chunks", message("GET /text.txt HTTP/1.1", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", 200

source "RFC 9110 §13, §14"
declines "the client has it", get("If-None-Match: *", target: "/text.txt"), 304
declines "the client wants another one", get('If-Match: "other"', target: "/text.txt"), 412
declines "some of it", get("Range: bytes=0-3", target: "/text.txt"), 206
declines "several parts", get("Range: bytes=0-3,-1", target: "/text.txt"), 206
declines "more parts than there are", get("Range: bytes=#{"0-," * 20}0-", target: "/text.txt"), 200
declines "what there is not", get("Range: bytes=1000-", target: "/text.txt"), 416
declines "a range that is none", get("Range: bytes=b-a", target: "/text.txt"), 200
declines "two ranges of which nobody knows which", get("Range: bytes=0-3", "Range: bytes=4-5", target: "/text.txt"), 200
declines "a condition that is none", get("If-Modified-Since: now", "If-None-Match: now", target: "/text.txt"), 200

source "static: everything else is the application's"
takes "another method", post("Content-Length: 2", body: "ok", target: "/text.txt"), "POST /text.txt ok"
takes "what is no file", get(target: "/other"), "GET /other"
takes "a folder", get, "GET /"
takes "above the folder", get(target: "/../files/text.txt"), "GET /../files/text.txt"
takes "above the folder, encoded", get(target: "/%2e%2e/files/text.txt"), "GET /%2e%2e/files/text.txt"
takes "an encoded slash", get(target: "/..%2ffiles%2ftext.txt"), "GET /..%2ffiles%2ftext.txt"
takes "a NUL", get(target: "/text.txt%00"), "GET /text.txt%00"
takes "a broken encoding", get(target: "/text.tx%7"), "GET /text.tx%7"
takes "two slashes", get(target: "//text.txt"), "GET //text.txt"

source "RFC 9112 §2.2: what is malformed is refused, whatever it is for"
refuses "a file, and a space before a colon", get("A : b", target: "/text.txt")
refuses "a file, and two lengths", get("Content-Length: 1", "Content-Length: 2", target: "/text.txt")
