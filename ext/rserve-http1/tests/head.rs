//! Heads: what is accepted, as what, and what is refused.

mod support;

use rserve_http1::{Framing, Limits, Version};
use support::{Outcome, Printable, Request, latin1, pairs, play};

fn outcome(octets: impl AsRef<[u8]>) -> Outcome {
    play(octets.as_ref(), &Limits::default())
}

/// A request with one line and no fields.
fn line(line: &[u8]) -> Vec<u8> {
    [line, b"\r\n\r\n"].concat()
}

/// `GET /` with these field lines, without the empty line.
fn fields(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n")
}

#[test]
fn an_unfinished_head_waits() {
    let whole = "GET /a?b#c HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n";
    for length in 0..whole.len() {
        let outcome = outcome(&whole[..length]);
        let want = Outcome { requests: Vec::new(), error: None, left: length };
        assert_eq!(outcome, want, "{:?}", &whole[..length]);
    }
}

#[test]
fn refusals_know_the_version_to_answer_with() {
    for (octets, want) in [
        ("GET : HTTP/1.1\r\n\r\n", Version::Http11),
        ("GET : HTTP/1.0\r\n\r\n", Version::Http10),
        ("GET / HTTP/1.1\r\nX\r\n\r\n", Version::Http11),
        ("GET / HTTP/1.0\r\nX\r\n\r\n", Version::Http10),
        ("GET / HTTP/1.x\r\n\r\n", Version::Http10),
        ("get / HTTP/1.1\r\n\r\n", Version::Http10),
        // Not the version of the request before.
        ("GET / HTTP/1.1\r\n\r\nget / HTTP/1.1\r\n\r\n", Version::Http10),
    ] {
        let error = outcome(octets).error;
        assert_eq!(error.map(|(_, _, version)| version), Some(want), "{octets:?}");
    }
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    for (octets, requests, error, left) in [
        (format!("\r\n{get}"), 1, "", 0),
        (format!("{get}\r\n{get}"), 2, "", 0),
        (format!("\r\n{get}\r\n{get}\r\n"), 2, "", 0),
        ("\r\n".to_owned(), 0, "", 0),
        ("\r".to_owned(), 0, "", 1),
        (format!("\r\n\r\n{get}"), 0, "NotHttp", 0),
        (format!("{get}\r\n\r\n{get}"), 1, "NotHttp", 0),
        (format!("\n{get}"), 0, "NotHttp", 0),
        (format!("\r{get}"), 0, "NotHttp", 0),
        (format!(" \r\n{get}"), 0, "NotHttp", 0),
    ] {
        let outcome = outcome(&octets);
        assert_eq!(
            (outcome.requests.len(), outcome.error(), outcome.left),
            (requests, error, left),
            "{octets:?}"
        );
    }
    let none = Limits { blank_lines: 0, ..Limits::default() };
    assert_eq!(play(format!("\r\n{get}").as_bytes(), &none).error(), "NotHttp");
}

#[test]
fn field_lines_are_kept_in_order_and_trimmed() {
    for (lines, want) in [
        ("A: b", &[("A", "b")][..]),
        ("A:b", &[("A", "b")]),
        ("A: \t b c\t ", &[("A", "b c")]),
        ("A:", &[("A", "")]),
        ("A: \t ", &[("A", "")]),
        ("A: b\tc", &[("A", "b\tc")]),
        ("A: b:c", &[("A", "b:c")]),
        ("aaaaaaaaaaaaa:++++++++++", &[("aaaaaaaaaaaaa", "++++++++++")]),
        ("!#$%&'*+-.^_`|~09Az: b", &[("!#$%&'*+-.^_`|~09Az", "b")]),
        ("A: b\r\nA: c\r\na: d", &[("A", "b"), ("A", "c"), ("a", "d")]),
    ] {
        assert_eq!(outcome(fields(lines)).only().fields, pairs(want), "{lines:?}");
    }
}

#[test]
fn field_values_may_hold_any_octet_but_controls() {
    for octet in 0..=255u8 {
        let outcome = outcome([b"GET / HTTP/1.1\r\nA: b", &[octet][..], b"c\r\n\r\n"].concat());
        let legal = octet == b'\t' || (octet >= b' ' && octet != 0x7f);
        assert_eq!(outcome.error(), if legal { "" } else { "Field" }, "{octet:#x}");
    }
}

#[test]
fn field_names_are_tokens() {
    for octet in 0..=255u8 {
        let outcome = outcome([b"GET / HTTP/1.1\r\nA", &[octet][..], b"b: c\r\n\r\n"].concat());
        let legal = octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&octet);
        assert_eq!(outcome.error(), if legal { "" } else { "Field" }, "{octet:#x}");
    }
}

#[test]
fn field_lines_that_are_refused() {
    for lines in [
        "A : b",
        "A\t: b",
        " A: b",
        "\tA: b",
        "A: b\r\n c: d",
        "A: b\r\n\tc",
        "A: b\r\n ",
        ": b",
        ":",
        "A",
        "A b",
        "A: b\nC: d",
        "A: b\n",
        "A: b\rC: d",
        "A: b\r",
        "A: b\r\r",
        "A: b\0",
        "\u{e9}: b",
        "A: b\r\nno-newline: 10\rContent-Length: 11",
        "A: b\n\r\nC: d",
        "\"A\": b",
        "A(b): c",
        "GET / HTTP/1.1",
    ] {
        assert_eq!(outcome(fields(lines)).error(), "Field", "{lines:?}");
    }
    assert_eq!(outcome("GET / HTTP/1.1\r\nA: b\r\n\n").error(), "Field");
    assert_eq!(outcome("GET / HTTP/1.1\r\nA: b\r\n\r\r\n").error(), "Field");
}

#[test]
fn versions_other_than_1_1_are_answered_as_1_0_and_closed() {
    for (protocol, version, keep_alive) in [
        ("HTTP/1.1", Version::Http11, true),
        ("HTTP/1.0", Version::Http10, true),
        ("HTTP/2.0", Version::Http10, false),
        ("HTTP/0.9", Version::Http10, false),
        ("HTTP/1.2", Version::Http10, false),
        ("HTTP/01.1", Version::Http10, false),
        ("HTTP/1.01", Version::Http10, false),
        ("HTTP/11.22", Version::Http10, false),
    ] {
        let outcome = outcome(format!("GET / {protocol}\r\nConnection: keep-alive\r\n\r\n"));
        let request = outcome.only();
        assert_eq!((request.version, request.keep_alive), (version, keep_alive), "{protocol}");
        assert_eq!(request.protocol, protocol);
    }
}

#[test]
fn connection_lists_are_read_whole() {
    for (protocol, lines, keep_alive) in [
        ("HTTP/1.1", "A: b", true),
        ("HTTP/1.1", "Connection: close", false),
        ("HTTP/1.1", "connection: CLOSE", false),
        ("HTTP/1.1", "Connection: keep-alive", true),
        ("HTTP/1.1", "Connection: TE, close", false),
        ("HTTP/1.1", "Connection: TE\r\nConnection:\tclose ,", false),
        ("HTTP/1.1", "Connection: keep-alive, close", false),
        ("HTTP/1.1", "Connection: closed", true),
        ("HTTP/1.1", "Connection: \"close\"", true),
        ("HTTP/1.1", "Connection:", true),
        ("HTTP/1.1", "X-Connection: close", true),
        ("HTTP/1.0", "A: b", false),
        ("HTTP/1.0", "Connection: Keep-Alive", true),
        ("HTTP/1.0", "Connection: TE, keep-alive", true),
        ("HTTP/1.0", "Connection: keep-alive\r\nConnection: close", false),
        ("HTTP/1.0", "Connection: close", false),
    ] {
        let outcome = outcome(format!("GET / {protocol}\r\n{lines}\r\n\r\n"));
        assert_eq!(outcome.only().keep_alive, keep_alive, "{protocol} {lines:?}");
    }
}

#[test]
fn hosts_are_valid_and_at_most_one() {
    for (lines, want) in [
        ("Host: a.example", Ok(Some("a.example"))),
        ("host: A.example:8080 ", Ok(Some("A.example:8080"))),
        ("Host: [::1]:80", Ok(Some("[::1]:80"))),
        ("Host: a_b", Ok(Some("a_b"))),
        ("Host: a:", Ok(Some("a:"))),
        ("Host:", Ok(None)),
        ("A: b", Ok(None)),
        ("Host: a\r\nHost: a", Err("Host")),
        ("Host: a\r\nhOsT: b", Err("Host")),
        ("Host:\r\nHost: b", Err("Host")),
        ("Host: a b", Err("Host")),
        ("Host: a, b", Err("Host")),
        ("Host: a/b", Err("Host")),
        ("Host: a@b", Err("Host")),
        ("Host: http://a", Err("Host")),
        ("Host: :80", Err("Host")),
        ("Host: a:b", Err("Host")),
        ("Host: a:80:80", Err("Host")),
        ("Host: ::1", Err("Host")),
        ("Host: [::1", Err("Host")),
        ("Host: a<b", Err("Host")),
        ("Host: \u{e9}", Err("Host")),
        ("Host : a", Err("Field")),
    ] {
        let outcome = outcome(fields(lines));
        match want {
            Ok(host) => assert_eq!(outcome.only().host.as_deref(), host, "{lines:?}"),
            Err(error) => assert_eq!(outcome.error(), error, "{lines:?}"),
        }
    }
}

#[test]
fn the_targets_host_replaces_the_field_which_is_still_checked() {
    let get = |lines: &str| outcome(format!("GET http://a:1/ HTTP/1.1\r\n{lines}\r\n"));
    assert_eq!(get("Host: b\r\n").only().host.as_deref(), Some("a:1"));
    assert_eq!(get("A: 1\r\nHost: b\r\nC: 1\r\n").only().env[1], ("HTTP_HOST".to_owned(), "a:1".to_owned()));
    assert_eq!(get("Host:\r\n").only().env, pairs(&[("HTTP_HOST", "a:1")]));
    assert_eq!(get("").only().host.as_deref(), Some("a:1"));
    assert_eq!(get("Host: b c\r\n").error(), "Host");
    assert_eq!(get("Host: b\r\nHost: b\r\n").error(), "Host");
}

#[test]
fn strict_host_refuses_1_1_without_it() {
    let strict = Limits { strict_host: true, ..Limits::default() };
    for (octets, want) in [
        ("GET / HTTP/1.1\r\n\r\n", "MissingHost"),
        ("GET http://a/ HTTP/1.1\r\n\r\n", "MissingHost"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "MissingHost"),
        ("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\n\r\n", ""),
    ] {
        assert_eq!(play(octets.as_bytes(), &strict).error(), want, "{octets:?}");
    }
}

#[test]
fn expectations_of_1_1_clients() {
    for (protocol, lines, want) in [
        ("HTTP/1.1", "Expect: 100-continue", true),
        ("HTTP/1.1", "expect: 100-Continue", true),
        ("HTTP/1.1", "Expect: 100-continued", false),
        ("HTTP/1.1", "Expect:", false),
        ("HTTP/1.0", "Expect: 100-continue", false),
    ] {
        let outcome = outcome(format!("GET / {protocol}\r\n{lines}\r\n\r\n"));
        assert_eq!(outcome.only().expects_continue, want, "{protocol} {lines:?}");
    }
}

#[test]
fn the_environment_joins_what_is_repeated() {
    for (lines, want) in [
        ("A: 1\r\nB: 2\r\nA: 3", &[("HTTP_A", "1, 3"), ("HTTP_B", "2")][..]),
        ("Cookie: a=1\r\ncookie: b=2", &[("HTTP_COOKIE", "a=1, b=2")]),
        ("Content-Type: a\r\nAccept: b", &[("CONTENT_TYPE", "a"), ("HTTP_ACCEPT", "b")]),
        ("A:\r\nA: 1", &[("HTTP_A", ", 1")]),
    ] {
        assert_eq!(outcome(fields(lines)).only().env, pairs(want), "{lines:?}");
    }
}

#[test]
fn every_pair_of_names_is_told_apart() {
    // Names that share first, middle, last octet and length, on which the search for repetitions starts.
    let names = ["Abxba", "Acxca", "abXba", "A-x-a", "Abxb", "xbxba", "Abxbc"];
    for one in names {
        for other in names {
            let same = one.eq_ignore_ascii_case(other);
            let outcome = outcome(fields(&format!("{one}: 1\r\n{other}: 2")));
            assert_eq!(outcome.only().env.len(), if same { 1 } else { 2 }, "{one} {other}");
        }
    }
}

#[test]
fn underscores_never_win_over_dashes() {
    for (lines, want) in [
        ("X_Real_IP: 1", &[("HTTP_X_REAL_IP", "1")][..]),
        ("X_Real-IP: 1\r\nX-Real-IP: 2", &[("HTTP_X_REAL_IP", "2")]),
        ("X-Real-IP: 2\r\nX-Real_IP: 1", &[("HTTP_X_REAL_IP", "2")]),
        ("X-Real-IP: 2\r\nx_real_ip: 1\r\nX-REAL-IP: 3", &[("HTTP_X_REAL_IP", "2, 3")]),
        ("x_a: 1\r\nX_A: 2", &[("HTTP_X_A", "1, 2")]),
        ("x_a_b: 1\r\nX_A-b: 2\r\nX-A_b: 3", &[("HTTP_X_A_B", "1, 2, 3")]),
        ("x_a_b: 1\r\nX_A-b: 2\r\nX-A-b: 3", &[("HTTP_X_A_B", "3")]),
        ("Content_Length: 5", &[]),
        ("Content_Type: a", &[]),
        ("Transfer_Encoding: chunked", &[]),
        ("TRANSFER_ENCODING: chunked\r\nContent_length: 1", &[]),
        ("Proxy: a", &[]),
        ("PROXY: a\r\nproxy: b", &[]),
        ("Proxy-Connection: a", &[("HTTP_PROXY_CONNECTION", "a")]),
        ("vERSION: 9", &[]),
    ] {
        let outcome = outcome(fields(lines));
        assert_eq!(outcome.only().env, pairs(want), "{lines:?}");
        assert_eq!(outcome.only().framing, Framing::None, "{lines:?}");
    }
}

#[test]
fn each_limit_allows_its_value_and_not_one_more() {
    let limits = Limits { fields: 5, ..Limits::default() };
    let a = |count: usize| "a".repeat(count);
    for (name, octets, want) in [
        ("path", format!("GET /{} HTTP/1.1\r\n\r\n", a(8191)), ""),
        ("path", format!("GET /{} HTTP/1.1\r\n\r\n", a(8192)), "TooLong { element: RequestPath"),
        ("path", format!("GET http://a/{} HTTP/1.1\r\n\r\n", a(8191)), ""),
        ("path", format!("GET http://a/{} HTTP/1.1\r\n\r\n", a(8192)), "TooLong { element: RequestPath"),
        ("query", format!("GET /?{} HTTP/1.1\r\n\r\n", a(10_240)), ""),
        ("query", format!("GET /?{} HTTP/1.1\r\n\r\n", a(10_241)), "TooLong { element: QueryString"),
        ("uri", format!("GET /{}?{} HTTP/1.1\r\n\r\n", a(6000), a(6286)), ""),
        ("uri", format!("GET /{}?{} HTTP/1.1\r\n\r\n", a(6000), a(6287)), "TooLong { element: RequestUri"),
        ("uri", format!("GET {} HTTP/1.1\r\n\r\n", a(12_289)), "TooLong { element: RequestUri"),
        ("fragment", format!("GET /#{} HTTP/1.1\r\n\r\n", a(1024)), ""),
        ("fragment", format!("GET /#{} HTTP/1.1\r\n\r\n", a(1025)), "TooLong { element: Fragment"),
        ("name", fields(&format!("{}: b", a(256))), ""),
        ("name", fields(&format!("{}: b", a(257))), "TooLong { element: FieldName"),
        ("value", fields(&format!("a: \t {} ", a(81_920))), ""),
        ("value", fields(&format!("a: {}", a(81_921))), "TooLong { element: FieldValue"),
        ("count", fields("a: b\r\na: b\r\na: b\r\na: b\r\na: b"), ""),
        ("count", fields("a: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b"), "TooManyFields"),
        ("head", fields(&format!("a: {}\r\nb: {}", a(80_000), a(34_688 - 28))), ""),
        ("head", fields(&format!("a: {}\r\nb: {}", a(80_000), a(34_688 - 27))), "TooLong { element: Header"),
        ("head, endless", format!("GET / HTTP/1.1\r\na: {}", a(200_000)), "TooLong { element: Header"),
        ("path, endless", format!("GET /{}", a(200_000)), "TooLong { element: RequestPath"),
        ("query, endless", format!("GET /?{}", a(200_000)), "TooLong { element: QueryString"),
        ("method, endless", "A".repeat(200_000), "Method"),
        ("digits, endless", format!("GET / HTTP/1{}", "1".repeat(200_000)), "Protocol"),
    ] {
        let outcome = play(octets.as_bytes(), &limits);
        let variant = want.split(' ').next().unwrap_or("");
        assert_eq!(outcome.error(), variant, "{name}: {:?}", Printable(octets.as_bytes()));
        if let Some((_, element)) = want.split_once("element: ") {
            assert_eq!(error_of(&octets, &limits), format!("TooLong {{ element: {element}"), "{name}");
        }
    }
}

/// The start of the error's debug form, up to the element.
fn error_of(octets: &str, limits: &Limits) -> String {
    let mut receiver = rserve_http1::Receiver::new(limits.clone());
    let error = receiver.advance(octets.as_bytes(), &mut rserve_http1::Head::default()).expect_err("refused");
    format!("{error:?}").split(", limit").next().unwrap_or("").to_owned()
}

#[test]
fn the_head_limit_counts_the_octets_of_the_head_only() {
    let head = fields(&format!("a: {}", "a".repeat(100)));
    let exact = Limits { head: head.len(), ..Limits::default() };
    let pipelined = format!("{head}{head}{head}");
    let outcome = play(pipelined.as_bytes(), &exact);
    assert_eq!((outcome.requests.len(), outcome.error()), (3, ""));
    let less = Limits { head: head.len() - 1, ..Limits::default() };
    assert_eq!(play(pipelined.as_bytes(), &less).error(), "TooLong");
}

#[test]
fn a_head_is_reused_without_a_trace_of_the_last_one() {
    let outcome = outcome(
        "POST http://a/b?c#d HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 0\r\nX_Y: 1\r\n\r\n\
         GET / HTTP/1.0\r\n\r\n",
    );
    let want = Request {
        method: "GET".into(),
        target: "/".into(),
        path: "/".into(),
        protocol: "HTTP/1.0".into(),
        ended: true,
        ..Request::default()
    };
    assert_eq!(outcome.requests[1], want);
}

#[test]
fn a_trickling_client_costs_linear_work() {
    // Quadratic work would take hours for these octets, one by one.
    let limits = Limits { head: 4 << 20, field_value: 4 << 20, ..Limits::default() };
    let octets = fields(&format!("a: {}", "a".repeat(2 << 20)));
    let cuts: Vec<usize> = (1..octets.len()).collect();
    let outcome = support::play_cut(octets.as_bytes(), &limits, &cuts);
    assert_eq!(outcome.only().fields.len(), 1);
}

#[test]
fn line_by_line_a_head_is_read_as_httparse_reads_it() {
    let browser = include_bytes!("data/browser.http");
    for octets in [browser.as_slice(), fields("A: b\r\nC:\td \r\nE:").as_bytes(), &line(b"GET /a?b HTTP/1.0")]
    {
        // Whole, httparse reads the fields anyway.
        let every: Vec<usize> = (1..octets.len()).collect();
        let ours = support::play_cut(octets, &Limits::default(), &every);
        let request = ours.only();
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut theirs = httparse::Request::new(&mut fields);
        assert_eq!(theirs.parse(octets), Ok(httparse::Status::Complete(octets.len())));
        assert_eq!(theirs.method, Some(request.method.as_str()));
        assert_eq!(theirs.path, Some(request.target.as_str()));
        let theirs: Vec<_> =
            theirs.headers.iter().map(|field| (field.name.to_owned(), latin1(field.value))).collect();
        assert_eq!(theirs, request.fields);
    }
}
