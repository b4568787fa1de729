# frozen_string_literal: true

source "RFC 9110 §9.3"
%w[GET POST PUT DELETE OPTIONS PATCH TRACE QUERY].each { |name| takes name, message("#{name} /m HTTP/1.1"), "#{name} /m" }
takes "HEAD", message("HEAD /m HTTP/1.1"), "HEAD /m"
takes "HEAD with a body", "#{message("HEAD /m HTTP/1.1", "Content-Length: 3")}abc", "HEAD /m abc"
takes "GET with a body", "#{message("GET /m HTTP/1.1", "Content-Length: 3")}abc", "GET /m abc"
takes "DELETE with a body", "#{message("DELETE /m HTTP/1.1", "Content-Length: 3")}abc", "DELETE /m abc"
takes "QUERY with a body, RFC 10008", "#{message("QUERY /m HTTP/1.1", "Content-Length: 3")}abc", "QUERY /m abc"
takes "OPTIONS with a chunked body", "#{message("OPTIONS /m HTTP/1.1", "Transfer-Encoding: chunked")}1\r\na\r\n0\r\n\r\n",
      "OPTIONS /m a"

source "RFC 9110 §9.1: methods are case-sensitive; Puma's grammar"
refuses "lower case", message("get / HTTP/1.1")
refuses "mixed case", message("Get / HTTP/1.1")
refuses "the last letter in lower case", message("GEt / HTTP/1.1")
refuses "21 letters", message("#{"A" * 21} / HTTP/1.1")
refuses "100,000 letters", "A" * 100_000
refuses "an empty one", message(" / HTTP/1.1")
refuses "a NUL inside", message("GE\0T / HTTP/1.1")
refuses "an octet from 0x80", message("GE\xFFT / HTTP/1.1")
refuses "a colon", message("GET: / HTTP/1.1")
refuses "a quote", message("\"GET\" / HTTP/1.1")
refuses "a slash", message("G/T / HTTP/1.1")
refuses "a byte order mark before it", message("\xEF\xBB\xBFGET / HTTP/1.1")
refuses "a DEL before it", message("\x7FGET / HTTP/1.1")

source "RFC 9110 §15.6.2; Puma's supported_http_methods; what follows a method that nobody knows may be anything"
declines_last "a method of WebDAV", message("PROPFIND /m HTTP/1.1"), 501
declines_last "a method with a body, which is skipped", message("LOCK /m HTTP/1.1", "Content-Length: 27") + get, 501
declines_last "a method with a chunked body",
              "#{message("LOCK /m HTTP/1.1", "Transfer-Encoding: chunked")}1\r\na\r\n0\r\n\r\n", 501
declines_last "20 letters", message("#{"A" * 20} / HTTP/1.1"), 501
declines_last "Puma's own octets for methods", message("A-Z_0$9. / HTTP/1.1"), 501

source "RFC 9110 §9.3.6: what follows CONNECT belongs to the tunnel, whether there is one or not"
declines_last "CONNECT, which no origin server has", message("CONNECT h:443 HTTP/1.1"), 501
declines_last "a request within the tunnel that was not opened", message("CONNECT h:443 HTTP/1.1") + get(target: "/smuggled"), 501
declines_last "a request after CONNECT with a length", "#{message("CONNECT h:443 HTTP/1.1", "Content-Length: 1")}a#{get}", 501
declines_last "a request after CONNECT on HTTP/1.0 that asks to stay",
              "CONNECT h:443 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n#{get}", 501
declines_last "CONNECT after another request", get(target: "/a") + message("CONNECT h:443 HTTP/1.1") + get, 501, sees: "GET /a"
