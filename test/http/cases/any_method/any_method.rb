# frozen_string_literal: true

source "RFC 9110 §9.3.6: an app that answers CONNECT opens no tunnel, and what follows is none of HTTP's"
takes_last "CONNECT", message("CONNECT h:443 HTTP/1.1"), "CONNECT h:443"
takes_last "a request within the tunnel", message("CONNECT h:443 HTTP/1.1") + get(target: "/smuggled"), "CONNECT h:443"
takes "another method that Puma does not know", message("LOCK /m HTTP/1.1", "Content-Length: 1") + "a", "LOCK /m a"
