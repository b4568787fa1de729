//! Which lists of fields are a request, and how it looks by HTTP/1.1. Those that are none have rows of their own in
//! `test/http/http2/cases`, where a real server refuses them.

use rserve_http2::hpack::{Decoder, Encoder};
use rserve_http2::{FieldList, Malformed, RequestHead};

const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

fn list(fields: &[(&str, &str)]) -> FieldList {
    let (encoder, mut block) = (Encoder::default(), Vec::new());
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut block);
    }
    let mut list = FieldList::new(1 << 16);
    Decoder::default().decode(&block, &mut list).expect("a block");
    list
}

fn head(fields: &[(&str, &str)], ended: bool) -> Result<String, Malformed> {
    RequestHead::of(&list(fields), ended).map(|head| String::from_utf8(head.octets).expect("ASCII"))
}

#[test]
fn a_request_is_one_of_http_1() {
    for (name, more, ended, want) in [
        ("nothing more", &[][..], true, ""),
        ("a body", &[], false, "transfer-encoding: chunked\r\n"),
        ("a body of a length", &[("content-length", "5")], false, "content-length: 5\r\n"),
        ("no body, of a length", &[("content-length", "0")], true, "content-length: 0\r\n"),
        (
            "a length twice",
            &[("content-length", "5"), ("content-length", "5")],
            false,
            "content-length: 5\r\n",
        ),
        ("fields", &[("x", "1"), ("y", ""), ("x", "2")], true, "x: 1\r\ny: \r\nx: 2\r\n"),
        (
            "cookies",
            &[("a", "1"), ("cookie", "a=b"), ("b", "2"), ("cookie", "c=d"), ("cookie", "e")],
            true,
            "a: 1\r\ncookie: a=b; c=d; e\r\nb: 2\r\n",
        ),
        ("Host", &[("host", "A.example")], true, ""),
    ] {
        let fields = [GET, more].concat();
        let want = format!("GET /x?y HTTP/1.1\r\nhost: a.example\r\n{want}\r\n");
        assert_eq!(head(&fields, ended), Ok(want), "{name}");
    }
    for (fields, want) in [
        (&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*")][..], "OPTIONS * HTTP/1.1\r\n\r\n"),
        (
            &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "b")],
            "GET / HTTP/1.1\r\nhost: b\r\n\r\n",
        ),
        (&[(":method", "CONNECT"), (":authority", "a:1")], "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"),
    ] {
        assert_eq!(head(fields, true).as_deref(), Ok(want));
    }
}

#[test]
fn what_is_none_is_told() {
    for (more, ended, want) in [
        (("x", "a\r\nb"), true, Malformed::Value),
        (("X", "a"), true, Malformed::Name),
        (("", "a"), true, Malformed::Name),
        (("upgrade", "h2c"), true, Malformed::Connection),
        (("host", "b"), true, Malformed::Authority),
        (("content-length", "5"), true, Malformed::ContentLength),
        (("content-length", "5x"), false, Malformed::ContentLength),
        ((":protocol", "websocket"), true, Malformed::Pseudo),
    ] {
        assert_eq!(head(&[GET, &[more]].concat(), ended), Err(want), "{more:?}");
    }
    for (path, method, want) in [
        ("/a b", "GET", Malformed::Path),
        ("/\u{7f}", "GET", Malformed::Path),
        ("*", "GET", Malformed::Path),
        ("http://a/", "GET", Malformed::Path),
        ("/", "G T", Malformed::Method),
        ("/", "", Malformed::Method),
        ("/", "CONNECT", Malformed::Pseudo),
    ] {
        let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")];
        assert_eq!(head(&fields, true), Err(want), "{method} {path}");
    }
}
