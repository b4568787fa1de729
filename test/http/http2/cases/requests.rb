# frozen_string_literal: true

section "RFC 9113 §8.3"
resets "an unknown pseudo-header field", :protocol_error, headers(1, fields(":test" => "ok"))
resets "one of responses", :protocol_error, headers(1, fields(":status" => "200"))
resets "one after a field", :protocol_error, headers(1, [%w[x a]] + GET)
resets "`:protocol`, which no setting allows", :protocol_error,
       headers(1, fields(":method" => "CONNECT", ":protocol" => "websocket"), END_HEADERS)

section "RFC 9113 §8.3.1"
%w[:method :scheme :path].each do |name|
  resets "no #{name}", :protocol_error, headers(1, fields(name => nil))
  resets "#{name} twice", :protocol_error, headers(1, [GET.assoc(name)] + GET)
end
resets ":authority twice", :protocol_error, headers(1, [GET.assoc(":authority")] + GET)
["", "x", "*", "/a b", "/\t", "/\0", "/a\r\nx: y", "/ HTTP/1.1\r\nx: y", "/\x7f", "http://localhost/"].each do |path|
  resets "the path #{path.inspect}", :protocol_error, headers(1, fields(":path" => path))
end
answers "the path * of OPTIONS", headers(1, fields(":method" => "OPTIONS", ":path" => "*"))
answers "a query", headers(1, fields(":path" => "/a?b=c"))
answers "a path that HTTP/1.1 refuses, too", headers(1, fields(":path" => "/<>")), status: [200, 400]
["", "G T", "GET ", "G\0T", "GET\r\n", "(GET)"].each do |method|
  resets "the method #{method.inspect}", :protocol_error, headers(1, fields(":method" => method))
end
answers "a method that is not served", headers(1, fields(":method" => "BREW")), status: 501
answers "HEAD", headers(1, fields(":method" => "HEAD"))
answers "another scheme", headers(1, fields(":scheme" => "https"))
answers "no authority but Host", headers(1, fields({ ":authority" => nil }, %w[host localhost]))
answers "neither authority nor Host, as in HTTP/1.1", headers(1, fields(":authority" => nil)), status: [200, 400]
answers "authority and Host that say the same", headers(1, fields({}, %w[host LOCALHOST]))
resets "authority and Host that do not", :protocol_error, headers(1, fields({}, %w[host example.com]))
resets "Host twice", :protocol_error, headers(1, fields({}, %w[host localhost], %w[host localhost]))
["local host", "a\0", "a\r\nx: y", "a\tb"].each do |authority|
  resets "the authority #{authority.inspect}", :protocol_error, headers(1, fields(":authority" => authority))
end

section "RFC 9113 §8.5"
answers "CONNECT, which is not served", headers(1, [%w[:method CONNECT], %w[:authority localhost:80]]), status: 501
resets "CONNECT with a path", :protocol_error, headers(1, fields(":method" => "CONNECT"))
resets "CONNECT without an authority", :protocol_error, headers(1, [%w[:method CONNECT]])

section "RFC 9113 §8.2.3"
answers "cookies one by one", headers(1, fields({}, %w[cookie a=b], %w[x y], %w[cookie c=d]))

section "RFC 9113 §10.5.1"
answers "more fields than are taken",
        headers(1, GET, END_STREAM) +
        (0..3).map { |at| frame(:continuation, 0, 1, pack([["x#{at}", "y" * 15_000]])) }.join +
        frame(:continuation, END_HEADERS, 1, pack((0..199).map { |at| ["z#{at}", ""] })), status: 431
ends "a block that is larger than any list", :enhance_your_calm,
     headers(1, GET, END_STREAM) + (0..4).map { |at| frame(:continuation, 0, 1, pack([["x#{at}", "y" * 16_000]])) }.join
