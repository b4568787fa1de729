//! Bodies: where they end, what is in them, and what comes after them.

mod support;

use rserve_http1::{Error, Framing, Head, Limits, Progress, Receiver};
use support::{Outcome, Printable, latin1, pairs, play};

fn outcome(octets: impl AsRef<[u8]>) -> Outcome {
    play(octets.as_ref(), &Limits::default())
}

/// A chunked request with this body, and a request behind it.
fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /next HTTP/1.1\r\n\r\n")
}

/// The bodies of the requests; panics unless all were complete and nothing was left.
#[track_caller]
fn bodies(outcome: &Outcome) -> Vec<String> {
    assert!(outcome.error.is_none() && outcome.left == 0, "{outcome:?}");
    assert!(outcome.requests.iter().all(|request| request.ended), "{outcome:?}");
    outcome.requests.iter().map(|request| latin1(&request.body)).collect()
}

#[test]
fn framing_follows_from_the_fields() {
    use Framing::{Chunked, Length, None as NoBody};
    for (protocol, lines, want) in [
        ("HTTP/1.1", "A: b", Ok((NoBody, true))),
        ("HTTP/1.1", "Content-Length: 0", Ok((Length(0), true))),
        ("HTTP/1.1", "content-length:\t0 ", Ok((Length(0), true))),
        ("HTTP/1.1", "Content-Length: 00", Ok((Length(0), true))),
        ("HTTP/1.1", "Content-Length: 5, 5", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 5\r\nContent-Length: 5", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 5\r\ncontent-length: 6", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 0\r\nContent-Length: ", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length:", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: +5", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: -5", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 5.01", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 5 test", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 0x5", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 5e0", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: \u{b2}", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 18446744073709551616", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: \"5\"", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length: 5;a=b", Err("ContentLength")),
        ("HTTP/1.1", "Content-Length : 5", Err("Field")),
        ("HTTP/1.1", "Content-Length\r\n: 5", Err("Field")),
        ("HTTP/1.1", "Transfer-Encoding: chunked", Ok((Chunked, true))),
        ("HTTP/1.1", "transfer-encoding:\tChunked ", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: gzip,chunked", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: gzip \t , \t chunked", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: compress, gzip, chunked", Ok((Chunked, true))),
        ("HTTP/1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked", Ok((Chunked, false))),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4", Ok((Chunked, false))),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: +4", Err("ContentLength")),
        ("HTTP/1.1", "Transfer-Encoding: gzip", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: gzip\r\nContent-Length: 4", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked, gzip", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked, chunked", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked, gzip, chunked", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding:", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: ,\t, ", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding:\r\nContent-Length: 4", Err("TransferEncoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding:", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: chunked,", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: ,chunked", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: gzip, ,chunked, ,", Ok((Chunked, true))),
        ("HTTP/1.1", "Transfer-Encoding: xchunked", Err("UnknownCoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunkedx", Err("UnknownCoding")),
        ("HTTP/1.1", "Transfer-Encoding: \"chunked\"", Err("UnknownCoding")),
        ("HTTP/1.1", "Transfer-Encoding: chunked;a=b", Err("UnknownCoding")),
        ("HTTP/1.1", "Transfer-Encoding: identity", Err("UnknownCoding")),
        ("HTTP/1.1", "Transfer-Encoding: identity, chunked", Err("UnknownCoding")),
        (
            "HTTP/1.1",
            "Transfer-Encoding: x_gzip\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            Err("UnknownCoding"),
        ),
        ("HTTP/1.1", "Transfer-Encoding: gzip chunked", Err("UnknownCoding")),
        ("HTTP/1.1", "Transfer-Encoding: \u{b}chunked", Err("Field")),
        ("HTTP/1.1", "Transfer-Encoding : chunked", Err("Field")),
        ("HTTP/1.1", "Transfer-Encoding\r\n : chunked", Err("Field")),
        ("HTTP/1.1", "Transfer-Encoding:\r\n chunked", Err("Field")),
        ("HTTP/1.1", " Transfer-Encoding: chunked", Err("Field")),
        ("HTTP/1.0", "Content-Length: 0", Ok((Length(0), false))),
        ("HTTP/1.0", "Transfer-Encoding: chunked", Err("TransferEncoding")),
        ("HTTP/1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive", Err("TransferEncoding")),
        ("HTTP/2.0", "Transfer-Encoding: chunked", Err("TransferEncoding")),
        ("HTTP/1.1", "X-Transfer-Encoding: chunked", Ok((NoBody, true))),
        ("HTTP/1.1", "Transfer-Encodin: chunked", Ok((NoBody, true))),
    ] {
        let tail = if matches!(want, Ok((Chunked, _))) { "0\r\n\r\n" } else { "" };
        let outcome = outcome(format!("POST / {protocol}\r\n{lines}\r\n\r\n{tail}"));
        match want {
            Ok(want) => {
                let request = outcome.only();
                assert_eq!((request.framing, request.keep_alive), want, "{protocol} {lines:?}");
            }
            Err(error) => assert_eq!(outcome.error(), error, "{protocol} {lines:?}"),
        }
    }
}

#[test]
fn strict_framing_leaves_exactly_one_chunked() {
    let strict = Limits { strict_framing: true, ..Limits::default() };
    for (lines, want) in [
        ("Transfer-Encoding: chunked", None),
        ("Transfer-Encoding: gzip, chunked", Some(("UnknownCoding", 501))),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Some(("LengthAndCoding", 400))),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Some(("LengthAndCoding", 400))),
    ] {
        let octets = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n0\r\n\r\n");
        let error = play(octets.as_bytes(), &strict).error;
        assert_eq!(error.as_ref().map(|(name, status, _)| (name.as_str(), *status)), want, "{lines:?}");
    }
}

#[test]
fn statuses_follow_from_what_is_wrong() {
    for (lines, status) in [
        ("Content-Length: x", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: x", 501),
        ("Content-Length: 11", 413),
    ] {
        let limits = Limits { body: Some(10), ..Limits::default() };
        let outcome = play(format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes(), &limits);
        assert_eq!(outcome.error.map(|(_, status, _)| status), Some(status), "{lines:?}");
    }
}

#[test]
fn the_app_sees_no_framing_of_a_decoded_body() {
    let octets =
        "POST / HTTP/1.1\r\nA: b\r\nContent-Length: 9\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(outcome(octets).only().env, pairs(&[("HTTP_A", "b")]));
    let octets = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(outcome(octets).only().env, pairs(&[("CONTENT_LENGTH", "2")]));
}

#[test]
fn pipelined_requests_are_told_apart() {
    for (octets, want) in [
        ("GET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n", &["", ""][..]),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", &["hello", ""]),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello\r\nGET / HTTP/1.1\r\n\r\n", &["hello", ""]),
        ("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", &["\r\n\r\n", ""]),
        ("HEAD / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.0\r\n\r\n", &["ab", ""]),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n4\r\nello\r\n0\r\n\r\n\
             POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n3\r\nbye\r\n0\r\n\r\n",
            &["hello", "goodbye"],
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 33\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            &["GET /smuggled HTTP/1.1\r\nHost: a\r\n", ""],
        ),
    ] {
        assert_eq!(bodies(&outcome(octets)), want, "{octets:?}");
    }
}

#[test]
fn a_body_that_is_not_there_yet_is_awaited() {
    let outcome = outcome("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell");
    assert_eq!((outcome.error(), outcome.requests[0].ended), ("", false));
    assert_eq!(outcome.requests[0].body, b"hell");
}

#[test]
fn chunked_bodies_are_decoded() {
    for (body, want) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\nH\r\n4\r\nello\r\n5\r\nWorld\r\n0\r\n\r\n", "HelloWorld"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("0000000000000005\r\nhello\r\n0000\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
        ("5;a=b;c=\"d; \\\"e\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5 ; a = b\t;\tc = \"\u{e9}\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", "hello"),
        ("0\r\nX:POST / HTTP/1.1\r\nHost: whatever\r\nContent-Length: 5\r\n\r\n", ""),
    ] {
        let outcome = outcome(chunked(body));
        assert_eq!(bodies(&outcome), [want, ""], "{body:?}");
        assert_eq!(outcome.requests[1].path, "/next", "{body:?}");
    }
}

#[test]
fn no_piece_is_longer_than_its_reader_has_room_for() {
    let messages = [
        "POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nabcdefgGET",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n4\r\ndefg\r\n0\r\na: b\r\n\r\nGET",
    ];
    for (message, most) in messages.into_iter().flat_map(|message| [(message, 1), (message, 2), (message, 9)])
    {
        let (mut receiver, mut head) = (Receiver::new(Limits::default()), Head::default());
        let (mut rest, mut body) = (message.as_bytes(), Vec::new());
        loop {
            let (consumed, data) = match receiver.advance_up_to(rest, most, &mut head).unwrap() {
                Progress::Head { consumed } => (consumed, 0..0),
                Progress::Data { consumed, data } => (consumed, data),
                Progress::End { consumed } => {
                    assert_eq!((body.as_slice(), &rest[consumed..]), (&b"abcdefg"[..], &b"GET"[..]));
                    break;
                }
                partial => panic!("{message:?} {most}: {partial:?}"),
            };
            assert!(data.len() <= most, "{message:?} {most}");
            body.extend_from_slice(&rest[data]);
            rest = &rest[consumed..];
        }
    }
}

#[test]
fn chunked_bodies_that_are_refused() {
    for (body, want) in [
        ("\r\n", "ChunkSize"),
        ("\r\n5\r\nhello\r\n", "ChunkSize"),
        ("5.01\r\nhello\r\n", "ChunkSize"),
        ("+5\r\nhello\r\n", "ChunkSize"),
        ("-1\r\n", "ChunkSize"),
        (" 5\r\nhello\r\n", "ChunkSize"),
        ("5 \r\nhello\r\n", "ChunkSize"),
        ("5\t\r\nhello\r\n", "ChunkSize"),
        ("5 bad\r\nhello\r\n", "ChunkSize"),
        ("0xA\r\nHelloHello\r\n", "ChunkSize"),
        ("x\r\n", "ChunkSize"),
        ("5,\r\nhello\r\n", "ChunkSize"),
        ("5\nhello\r\n", "ChunkSize"),
        ("5\rhello\r\n", "ChunkSize"),
        ("5\r\r\nhello\r\n", "ChunkSize"),
        ("5\0\r\nhello\r\n", "ChunkSize"),
        ("00000000000000005\r\nhello\r\n", "ChunkSize"),
        ("10000000000000000\r\n", "ChunkSize"),
        ("g\r\n", "ChunkSize"),
        ("\u{ff15}\r\nhello\r\n", "ChunkSize"),
        ("5;\r\nhello\r\n", "ChunkExtension"),
        ("5;;a\r\nhello\r\n", "ChunkExtension"),
        ("5;a=\r\nhello\r\n", "ChunkExtension"),
        ("5;=a\r\nhello\r\n", "ChunkExtension"),
        ("5;a b\r\nhello\r\n", "ChunkExtension"),
        ("5;a \r\nhello\r\n", "ChunkExtension"),
        ("5;a=b c\r\nhello\r\n", "ChunkExtension"),
        ("5;a=\"b\r\nhello\r\n", "ChunkExtension"),
        ("5;a=\"b\"c\r\nhello\r\n", "ChunkExtension"),
        ("5;a\rb\r\nhello\r\n", "ChunkExtension"),
        ("5;a=\"\0\"\r\nhello\r\n", "ChunkExtension"),
        ("5;a=\"\\\0\"\r\nhello\r\n", "ChunkExtension"),
        ("5;a\nhello\r\n", "ChunkSize"),
        ("5;a=\"\nb\"\r\nhello\r\n", "ChunkSize"),
        ("5\r\nhello", "ChunkEnd"),
        ("4\r\nhello\r\n", "ChunkEnd"),
        ("6\r\nhello\r\n0\r\n\r\n", "ChunkEnd"),
        ("5\r\nhello\n0\r\n\r\n", "ChunkEnd"),
        ("5\r\nhello\r0\r\n\r\n", "ChunkEnd"),
        ("5\r\nhello\r\n\r\n", "ChunkSize"),
        ("0\n\r\n", "ChunkSize"),
        ("0\r\n\n", "Trailer"),
        ("0\r\n\r\r\n\r\n", "Trailer"),
        ("0\r\nA\r\n\r\n", "Trailer"),
        ("0\r\nA : b\r\n\r\n", "Trailer"),
        ("0\r\n A: b\r\n\r\n", "Trailer"),
        ("0\r\nA: b\r\n c\r\n\r\n", "Trailer"),
        ("0\r\nA: b\nC: d\r\n\r\n", "Trailer"),
        ("0\r\nA: \0\r\n\r\n", "Trailer"),
        ("0\r\n", "Trailer"),
    ] {
        let outcome = outcome(chunked(body));
        assert_eq!(outcome.error(), want, "{body:?}");
        assert_eq!(outcome.requests.len(), 1, "nothing behind it is read: {body:?}");
    }
}

#[test]
fn bad_chunk_sizes_are_refused_before_their_line_ends() {
    for body in ["x", "5,", "\r", " ", "00000000000000000", "5\r\nhello\r\n\0"] {
        let octets = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(outcome(octets).error(), "ChunkSize", "{body:?}");
    }
}

#[test]
fn chunk_limits_allow_their_value_and_not_one_more() {
    let limits =
        Limits { chunk_line: 100, chunk_extensions: 150, trailers: 200, fields: 4, ..Limits::default() };
    let a = |count: usize| "a".repeat(count);
    for (name, body, want) in [
        ("line", format!("0;{}\r\n\r\n", a(98)), ""),
        ("line", format!("0;{}\r\n\r\n", a(99)), "ChunkLineTooLong"),
        ("line, endless", format!("0;{}", a(100_000)), "ChunkLineTooLong"),
        ("extensions", format!("1;{}\r\na\r\n0;{}\r\n\r\n", a(89), a(59)), ""),
        ("extensions", format!("1;{}\r\na\r\n0;{}\r\n\r\n", a(89), a(60)), "ChunkExcess"),
        ("trailers", format!("0\r\na: {}\r\nb: {}\r\n\r\n", a(95), a(95)), ""),
        ("trailers", format!("0\r\na: {}\r\nb: {}\r\n\r\n", a(95), a(96)), "TrailersTooLarge"),
        ("trailers, endless", format!("0\r\na: {}", a(100_000)), "TrailersTooLarge"),
        ("trailer lines", "0\r\na:\r\na:\r\na:\r\na:\r\n\r\n".to_owned(), ""),
        ("trailer lines", "0\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n".to_owned(), "TrailersTooLarge"),
    ] {
        let octets = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(
            play(octets.as_bytes(), &limits).error(),
            want,
            "{name}: {:?}",
            Printable(octets.as_bytes())
        );
    }
}

#[test]
fn content_beyond_the_limit_is_413() {
    let limits = Limits { body: Some(10), ..Limits::default() };
    let post = |rest: &str| play(format!("POST / HTTP/1.1\r\n{rest}").as_bytes(), &limits);
    for (name, rest, requests, want) in [
        ("length", "Content-Length: 10\r\n\r\n0123456789", 1, ""),
        ("length", "Content-Length: 11\r\n\r\n", 0, "ContentTooLarge"),
        ("length", "Content-Length: 18446744073709551615\r\n\r\n", 0, "ContentTooLarge"),
        ("expect", "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n", 0, "ContentTooLarge"),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", 1, ""),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n", 1, "ContentTooLarge"),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\nb\r\n", 1, "ContentTooLarge"),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 1, "ContentTooLarge"),
        ("overflow", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nffffffffffffffff\r\n", 1, "ChunkSize"),
    ] {
        let outcome = post(rest);
        assert_eq!((outcome.error(), outcome.requests.len()), (want, requests), "{name} {rest:?}");
    }
}

#[test]
fn one_chunk_may_be_as_long_as_a_size_can_say() {
    let octets = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc";
    let outcome = outcome(octets);
    assert_eq!((outcome.error(), outcome.requests[0].ended), ("", false));
    assert_eq!(outcome.requests[0].body, b"abc");
}

#[test]
fn after_an_error_nothing_is_read() {
    let (mut receiver, mut head) = (Receiver::new(Limits::default()), Head::default());
    let error = receiver.advance(b"get / HTTP/1.1\r\n\r\n", &mut head).expect_err("refused");
    assert!(matches!(error, Error::Method(_)));
    assert!(!receiver.awaits_head());
    assert_eq!(receiver.advance(b"GET / HTTP/1.1\r\n\r\n", &mut head), Err(error));
}
