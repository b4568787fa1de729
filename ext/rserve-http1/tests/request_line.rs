//! The first line of a request: what is accepted, as what, and what is refused.

mod support;

use rserve_http1::{Limits, Version};
use support::{Outcome, Request, latin1, play};

fn outcome(octets: impl AsRef<[u8]>) -> Outcome {
    play(octets.as_ref(), &Limits::default())
}

/// A request with one line and no fields.
fn line(line: &[u8]) -> Vec<u8> {
    [line, b"\r\n\r\n"].concat()
}

#[test]
fn targets_in_all_four_forms() {
    for (request_line, method, target, path, query, fragment, host) in [
        ("GET / HTTP/1.1", "GET", "/", "/", None, None, None),
        ("GET /?a=1 HTTP/1.1", "GET", "/?a=1", "/", Some("a=1"), None, None),
        ("GET /? HTTP/1.1", "GET", "/?", "/", Some(""), None, None),
        ("GET /a?b?c=/d HTTP/1.1", "GET", "/a?b?c=/d", "/a", Some("b?c=/d"), None, None),
        ("GET /a?b=1#c-2 HTTP/1.1", "GET", "/a?b=1", "/a", Some("b=1"), Some("c-2"), None),
        ("GET /a#b?c HTTP/1.1", "GET", "/a", "/a", None, Some("b?c"), None),
        ("GET /# HTTP/1.1", "GET", "/", "/", None, Some(""), None),
        ("GET //a//b HTTP/1.1", "GET", "//a//b", "//a//b", None, None, None),
        ("GET /a;b/c HTTP/1.1", "GET", "/a;b/c", "/a;b/c", None, None, None),
        (
            "GET /%27%%27?q=%27%%27 HTTP/1.1",
            "GET",
            "/%27%%27?q=%27%%27",
            "/%27%%27",
            Some("q=%27%%27"),
            None,
            None,
        ),
        (
            "GET /|^{}`\\[]?|^{}`\\[] HTTP/1.1",
            "GET",
            "/|^{}`\\[]?|^{}`\\[]",
            "/|^{}`\\[]",
            Some("|^{}`\\[]"),
            None,
            None,
        ),
        ("GET /http://a/b HTTP/1.1", "GET", "/http://a/b", "/http://a/b", None, None, None),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*", "*", None, None, None),
        (
            "GET http://a:3000/b?c=1 HTTP/1.1",
            "GET",
            "http://a:3000/b?c=1",
            "/b",
            Some("c=1"),
            None,
            Some("a:3000"),
        ),
        ("GET https://a HTTP/1.1", "GET", "https://a", "/", None, None, Some("a")),
        (
            "GET http://[::1]:80?c HTTP/1.1",
            "GET",
            "http://[::1]:80?c",
            "/",
            Some("c"),
            None,
            Some("[::1]:80"),
        ),
        ("GET ws+x://a//b HTTP/1.1", "GET", "ws+x://a//b", "//b", None, None, Some("a")),
        (
            "CONNECT a.example:443 HTTP/1.1",
            "CONNECT",
            "a.example:443",
            "a.example:443",
            None,
            None,
            Some("a.example:443"),
        ),
        ("PATCH a.example:443 HTTP/1.1", "PATCH", "a.example:443", "/", None, None, Some("a.example:443")),
        ("YOUR_SPECIAL-METHOD$ / HTTP/1.1", "YOUR_SPECIAL-METHOD$", "/", "/", None, None, None),
        ("M-SEARCH.2 / HTTP/1.1", "M-SEARCH.2", "/", "/", None, None, None),
    ] {
        let outcome = outcome(line(request_line.as_bytes()));
        let want = Request {
            method: method.into(),
            target: target.into(),
            path: path.into(),
            query: query.map(str::to_owned),
            fragment: fragment.map(str::to_owned),
            version: Version::Http11,
            protocol: "HTTP/1.1".into(),
            host: host.map(str::to_owned),
            keep_alive: method != "CONNECT",
            ended: true,
            ..Request::default()
        };
        assert_eq!(outcome.only(), &want, "{request_line}");
    }
}

#[test]
fn paths_may_hold_any_octet_from_0x80() {
    let octets: Vec<u8> = (0x80..=0xff).collect();
    let outcome = outcome(line(&[b"GET /", &octets[..], b"?", &octets[..], b" HTTP/1.1"].concat()));
    let text = latin1(&octets);
    let request = outcome.only();
    assert_eq!((&request.path, &request.query), (&format!("/{text}"), &Some(text.clone())));
}

#[test]
fn request_lines_that_are_refused() {
    for (request_line, want) in [
        ("get / HTTP/1.1", "Method"),
        ("GEt / HTTP/1.1", "Method"),
        ("GET! / HTTP/1.1", "Method"),
        ("ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1", "Method"),
        (" GET / HTTP/1.1", "NotHttp"),
        ("\tGET / HTTP/1.1", "NotHttp"),
        ("\u{16}\u{3}\u{1}\u{2}", "NotHttp"),
        ("a_}{n", "NotHttp"),
        ("GET\t/ HTTP/1.1", "NotHttp"),
        ("GET", "NotHttp"),
        ("GET  / HTTP/1.1", "Path"),
        ("GET \t/ HTTP/1.1", "Path"),
        ("GET ", "Path"),
        ("GET /", "Path"),
        ("GET foo HTTP/1.1", "Path"),
        ("GET : HTTP/1.1", "Path"),
        ("GET :80 HTTP/1.1", "Path"),
        ("GET foo:bar HTTP/1.1", "Path"),
        ("GET mailto:a@b HTTP/1.1", "Path"),
        ("GET *a HTTP/1.1", "Path"),
        ("GET ** HTTP/1.1", "Path"),
        ("GET ?a HTTP/1.1", "Path"),
        ("GET #a HTTP/1.1", "Path"),
        ("GET http:// HTTP/1.1", "Path"),
        ("GET http:///a HTTP/1.1", "Path"),
        ("GET http://u:p@a/ HTTP/1.1", "Path"),
        ("GET http://a:b/ HTTP/1.1", "Path"),
        ("GET http://a:99999/ HTTP/1.1", "Path"),
        ("GET http:/a HTTP/1.1", "Path"),
        ("GET 1http://a/ HTTP/1.1", "Path"),
        ("CONNECT a HTTP/1.1", "Path"),
        ("CONNECT a: HTTP/1.1", "Path"),
        ("CONNECT a:1?b HTTP/1.1", "Path"),
        ("GET /\" HTTP/1.1", "Path"),
        ("GET /< HTTP/1.1", "Path"),
        ("GET /> HTTP/1.1", "Path"),
        ("GET /\0 HTTP/1.1", "Path"),
        ("GET /\u{1b}?a HTTP/1.1", "Path"),
        ("GET /\u{7f} HTTP/1.1", "Path"),
        ("GET /\ta HTTP/1.1", "Path"),
        ("GET /\r/ HTTP/1.1", "Path"),
        ("GET /\n/ HTTP/1.1", "Path"),
        ("GET /?\u{1b} HTTP/1.1", "Query"),
        ("GET /?\" HTTP/1.1", "Query"),
        ("GET /?\r HTTP/1.1", "Query"),
        ("GET /#a#b HTTP/1.1", "Fragment"),
        ("GET /#\u{1} HTTP/1.1", "Fragment"),
        ("GET /a b HTTP/1.1", "Protocol"),
        ("GET /  HTTP/1.1", "Protocol"),
        ("GET / HTTP/1.1 ", "Protocol"),
        ("GET / HTTP/1.1\r", "Protocol"),
        ("GET / HTTP/1.1\t", "Protocol"),
        ("GET / http/1.1", "Protocol"),
        ("GET / HTTP/1.a", "Protocol"),
        ("GET / HTTP/1", "Protocol"),
        ("GET / HTTP/1.", "Protocol"),
        ("GET / HTTP/.1", "Protocol"),
        ("GET / HTTP/1,1", "Protocol"),
        ("GET / HTTP/1.1.1", "Protocol"),
        ("GET / HTTP /1.1", "Protocol"),
        ("GET / SsUTF/1.1", "Protocol"),
        ("GET / HTTPS/1.1", "Protocol"),
        ("GET / HTTP/BAD", "Protocol"),
        ("GET / HTTP/+1.1", "Protocol"),
        ("GET / HTTP/11111111111111111.1", "Protocol"),
        ("GET / HTTP/1.11111111111111111", "Protocol"),
        ("GET / ", "Protocol"),
    ] {
        let outcome = outcome(line(request_line.as_bytes()));
        assert_eq!(outcome.error(), want, "{request_line:?}");
        assert_eq!(outcome.requests, [], "{request_line:?}");
    }
}

#[test]
fn garbage_is_refused_before_its_line_ends() {
    for (octets, want) in [
        ("\u{16}", "NotHttp"),
        ("get /", "Method"),
        ("GET x\0", "Path"),
        ("GET / SsUTF/1.1", "Protocol"),
        ("GET /test HTTP/BAD", "Protocol"),
        ("GET / HTTP/1.1\n", "Protocol"),
        ("GET / HTTP/1.1\r\nno colon\r\n", "Field"),
        ("GET / HTTP/1.1\r\nA: b\rC", "Field"),
        ("GET / HTTP/1.1\r\nA: \0", "Field"),
        ("GET / HTTP/1.1\r\nA: b\r\n\rC", "Field"),
    ] {
        assert_eq!(outcome(octets).error(), want, "{octets:?}");
    }
}
