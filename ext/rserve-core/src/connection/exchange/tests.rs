use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use openssl::ssl::SslVersion;

use super::send::CORK_TIME;
use super::*;
use crate::config::options::ProxyProtocol;
use crate::connection::request::Refusal;
use crate::net::Peer;
use crate::net::edges::WRITABLE;
use crate::net::tls::tests::{Pair, RESPONSE, request};

/// A client and our side of its connection.
fn connected(options: &Options) -> (UnixStream, Exchange) {
    let (client, ours) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    (client, Exchange::new(Stream::new(ours.into()), options, &Arc::default(), Instant::now()))
}

fn received(client: &mut UnixStream) -> Vec<u8> {
    let mut octets = vec![0; 1 << 20];
    match client.read(&mut octets) {
        Ok(count) => octets[..count].to_vec(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_request_in_pieces_is_ready_with_its_last_octet() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    let message = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    for octet in &message[..message.len() - 1] {
        client.write_all(&[*octet]).unwrap();
        exchange.saw(READABLE);
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
        assert!(!exchange.is_idle());
    }
    client.write_all(b"o").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let request = exchange.take_request();
    assert_eq!(request.head.path.of(&request.octets), b"/a");
    assert!(matches!(&request.body, Body::Memory(body) if body == b"hello"));
}

#[test]
fn pipelined_requests_come_one_by_one_and_in_order() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HT").unwrap();
    let mut paths = Vec::new();
    while exchange.progress(&options, Instant::now()) == Outcome::Queue {
        let mut request = exchange.take_request();
        paths.push(request.head.path.of(&request.octets).to_vec());
        exchange.recycle(&mut request);
        exchange.finish(AfterSending::KeepAlive);
    }
    assert_eq!(paths, [b"/1", b"/2"]);
    assert_eq!(exchange.served(), 2);
    client.write_all(b"TP/1.1\r\n\r\n").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
}

#[test]
fn nothing_after_a_refused_request_is_read_as_one() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET / HTTP/1.1\r\nA : b\r\n\r\nGET /2 HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    assert_eq!(exchange.take_request().refusal.unwrap().status(&options), 400);
    client.write_all(b"GET /3 HTTP/1.1\r\n\r\n").unwrap();
    exchange.finish(AfterSending::Linger);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait, "it is read and thrown away");
    drop(client);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Close);
}

/// As the poller does, turn after turn.
fn until_no_more(exchange: &mut Exchange, options: &Options) -> Outcome {
    loop {
        match exchange.progress(options, Instant::now()) {
            Outcome::Again => {}
            outcome => return outcome,
        }
    }
}

#[test]
fn what_the_client_does_not_read_waits_in_order() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let parts: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 50_000]).collect();
    for part in &parts {
        exchange.write(&[IoSlice::new(part)], &options).unwrap();
    }
    assert!(
        exchange.outgoing().in_memory() <= crate::connection::outgoing::MEMORY_LIMIT,
        "the rest is in a file"
    );
    exchange.finish(AfterSending::KeepAlive);
    let mut read = Vec::new();
    while matches!(exchange.activity(), Activity::Sending) {
        assert_ne!(exchange.progress(&options, Instant::now()), Outcome::Close);
        read.extend(received(&mut client));
    }
    assert!(read == parts.concat(), "{} octets", read.len());
}

#[test]
fn parts_that_follow_closely_go_out_together() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let now = Instant::now();
    let part =
        |exchange: &mut Exchange, text: &[u8], at| exchange.write_part(&[IoSlice::new(text)], &options, at);

    assert!(!part(&mut exchange, b"a", now).unwrap());
    assert_eq!(received(&mut client), b"a", "the first goes at once");
    assert!(part(&mut exchange, b"b", now).unwrap(), "somebody has to flush the second");
    assert!(!part(&mut exchange, b"c", now).unwrap(), "and knows already");
    assert_eq!(received(&mut client), b"");
    exchange.uncork(now + CORK_TIME);
    assert_eq!(received(&mut client), b"bc");
    assert!(!part(&mut exchange, b"d", now + CORK_TIME * 3).unwrap());
    assert_eq!(received(&mut client), b"d", "one that comes later goes at once again");
    assert!(part(&mut exchange, b"e", now + CORK_TIME * 3).unwrap());
    exchange.finish(AfterSending::KeepAlive);
    assert_eq!(exchange.progress(&options, now), Outcome::Wait);
    assert_eq!(received(&mut client), b"e", "the end of the response flushes");
}

#[test]
fn a_body_that_is_not_announced_gets_its_continue_once() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
    assert_eq!(received(&mut client), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hi").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    assert_eq!(received(&mut client), b"");
}

/// The response before has filled the socket.
#[test]
fn a_continue_and_a_408_that_the_socket_has_no_room_for_come_later() {
    for late in [false, true] {
        let options = Options { poses_as_puma: true, ..Options::default() };
        let (mut client, mut exchange) = connected(&options);
        let full = [0; 1 << 16];
        while exchange.stream_mut().unwrap().send(&full).unwrap().is_some() {}
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").unwrap();
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
        if late {
            exchange.answer_timeout(&options, Peer::Unix);
        }
        let mut octets = Vec::new();
        for _ in 0..2 {
            loop {
                match received(&mut client) {
                    more if more.is_empty() => break,
                    more => octets.extend(more),
                }
            }
            exchange.saw(WRITABLE);
            assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
        }
        let text = String::from_utf8(octets).unwrap();
        let answer = if late { "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n" } else { "" };
        assert_eq!(text.trim_start_matches('\0'), format!("HTTP/1.1 100 Continue\r\n\r\n{answer}"));
    }
}

#[test]
fn what_came_after_the_last_request_does_not_reset_its_client() {
    for (more, outcome) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], Outcome::Wait), (b"", Outcome::Close)] {
        let options = Options::default();
        let (mut client, mut exchange) = connected(&options);
        client.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
        client.write_all(more).unwrap();
        exchange.write(&[IoSlice::new(b"response")], &options).unwrap();
        exchange.finish(AfterSending::Close);
        assert_eq!(exchange.progress(&options, Instant::now()), outcome);
        exchange.close();
        assert_eq!(received(&mut client), b"response");
        assert_eq!(received(&mut client), b"", "the end, and no reset");
    }
}

#[test]
fn an_end_that_came_with_the_last_octets_is_seen() {
    for octets in [&b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel"[..], b"GET / HTTP/1.1\r\nHo"] {
        let options = Options::default();
        let (mut client, mut exchange) = connected(&options);
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait, "nothing there yet");
        client.write_all(octets).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        // One edge for both, as epoll has it when they come close together.
        exchange.saw(READABLE | ENDED);
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Close);
    }
}

#[test]
fn what_was_understood_of_a_refused_head_is_kept_for_the_log() {
    let options = Options::default();
    for (message, path) in [
        (format!("GET /long?{} HTTP/1.1\r\n", "q".repeat(11_000)), "/long"),
        ("GET /field HTTP/1.1\r\nBad Field: 1\r\n\r\n".to_owned(), "/field"),
        ("GET /length HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(), "/length"),
    ] {
        let (mut client, mut exchange) = connected(&options);
        client.write_all(message.as_bytes()).unwrap();
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
        let request = exchange.take_request();
        assert!(matches!(request.refusal, Some(Refusal::Head(_))));
        assert_eq!(request.head.method.of(&request.octets), b"GET");
        assert_eq!(request.head.path.of(&request.octets), path.as_bytes());
    }
}

#[test]
fn who_sends_no_body_is_told_to_continue_right_before_the_response() {
    let options = Options::default();
    for (framing, at_once) in [("", ""), ("Content-Length: 5\r\n", "HTTP/1.1 100 Continue\r\n\r\n")] {
        let (mut client, mut exchange) = connected(&options);
        write!(client, "PUT / HTTP/1.1\r\nExpect: 100-continue\r\n{framing}\r\n").unwrap();
        exchange.progress(&options, Instant::now());
        assert_eq!(received(&mut client), at_once.as_bytes(), "{framing:?}");
        if at_once.is_empty() {
            exchange.write(&[IoSlice::new(b"HTTP/1.1 200 OK\r\n\r\n")], &options).unwrap();
            let all = String::from_utf8(received(&mut client)).unwrap();
            assert_eq!(all, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        }
    }
}

/// A connection in the middle of a body, of which `octets` came `after` the head.
fn in_body(octets: usize, after: Duration) -> (UnixStream, Exchange, Instant, Instant) {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    let head_at = Instant::now();
    client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, head_at), Outcome::Wait);
    client.write_all(&vec![b'x'; octets]).unwrap();
    exchange.saw(READABLE);
    let now = head_at + after;
    assert_eq!(exchange.progress(&options, now), Outcome::Wait);
    assert_eq!(exchange.patience, Patience::Body);
    (client, exchange, head_at, now)
}

#[test]
fn a_body_may_pause_but_not_trickle() {
    let pause = Duration::from_secs(30);
    for (octets, after, want) in [
        (1, 0, 30),
        (1, 29, 59),
        // An octet every 29 seconds is a pause each time, and too little together.
        (1, 58, 60),
        (5_000, 58, 70),
        (50_000, 58, 88),
    ] {
        let (_client, exchange, head_at, now) = in_body(octets, Duration::from_secs(after));
        let due = exchange.body_due(now, pause).duration_since(head_at).as_secs();
        assert_eq!(due, want, "{octets} octets after {after} s");
    }
}

#[test]
fn a_client_that_sends_and_does_not_read_makes_no_progress() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let body = vec![b'b'; 4 << 20];
    exchange.write(&[IoSlice::new(&body)], &options).unwrap();
    exchange.finish(AfterSending::KeepAlive);
    assert_eq!(until_no_more(&mut exchange, &options), Outcome::Wait);
    assert_eq!(exchange.patience, Patience::Stalled, "the first wait has a deadline");

    client.write_all(b"G").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
    assert_eq!(exchange.patience, Patience::Unchanged, "which an octet sent does not move");

    assert!(!received(&mut client).is_empty());
    exchange.saw(WRITABLE);
    assert_eq!(until_no_more(&mut exchange, &options), Outcome::Wait);
    assert_eq!(exchange.patience, Patience::Stalled, "and octets taken do");
}

#[test]
fn a_response_that_cannot_be_held_ends_where_it_is() {
    let options = Options { temp_folder: "/nowhere".into(), ..Options::default() };
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let body = vec![b'b'; 4 << 20];
    let failure = exchange.write(&[IoSlice::new(&body)], &options).unwrap_err();
    assert_eq!(failure.kind(), io::ErrorKind::StorageFull);
    let failure = exchange.write(&[IoSlice::new(b"the end")], &options).unwrap_err();
    assert_eq!(failure.kind(), io::ErrorKind::StorageFull, "what comes after it hears the same");
    exchange.finish(AfterSending::KeepAlive);
    assert_eq!(until_no_more(&mut exchange, &options), Outcome::Close);
    assert_eq!(exchange.after_sending, AfterSending::Abort);
    exchange.close();
    assert!(received(&mut client).iter().all(|&octet| octet == b'b'));
}

#[test]
fn a_fast_sender_lets_others_have_their_turn() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    let writer = std::thread::spawn(move || {
        client.set_nonblocking(false).unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 8388608\r\n\r\n").unwrap();
        client.write_all(&vec![b'x'; 8 << 20]).unwrap();
        client
    });
    let mut turns = 0;
    loop {
        exchange.saw(READABLE);
        match exchange.progress(&options, Instant::now()) {
            Outcome::Queue => break,
            Outcome::Again => turns += 1,
            _ => std::thread::yield_now(),
        }
    }
    writer.join().unwrap();
    assert!((64..=160).contains(&turns), "{turns} turns of 64 KiB at most");
    assert_eq!(exchange.take_request().body.len(), 8 << 20);
}

#[test]
fn a_body_of_tiny_chunks_arrives_whole() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let mut sent = Vec::new();
    for (number, size) in
        [1, 2, 30_000, 1, 16_384, 16_383, 90_000, 3].into_iter().cycle().take(64).enumerate()
    {
        let piece = vec![number as u8; size];
        client.set_nonblocking(false).unwrap();
        client.write_all(format!("{size:x}\r\n").as_bytes()).unwrap();
        client.write_all(&piece).unwrap();
        client.write_all(b"\r\n").unwrap();
        sent.extend(piece);
        exchange.saw(READABLE);
        assert_eq!(until_no_more(&mut exchange, &options), Outcome::Wait);
    }
    client.write_all(b"0\r\n\r\n").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let Body::File { mut file, .. } = exchange.take_request().body else { panic!("still in memory") };
    let mut stored = Vec::new();
    file.read_to_end(&mut stored).unwrap();
    assert_eq!(stored, sent);
}

#[test]
fn a_client_that_is_lost_while_octets_are_held_back_is_lost_for_the_next_write() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let now = Instant::now();
    let part = [IoSlice::new(b"part")];
    exchange.write_part(&part, &options, now).unwrap();
    exchange.write_part(&part, &options, now).unwrap();
    drop(client);
    exchange.uncork(now);
    assert!(exchange.write_part(&part, &options, now).is_err());
    exchange.finish(AfterSending::KeepAlive);
    assert_eq!(exchange.progress(&options, now), Outcome::Close);
}

#[test]
fn a_connection_can_be_passed_on_between_two_requests() {
    let options = Options::default();
    let (mut client, mut exchange) = connected(&options);
    assert!(exchange.transferable().is_some());
    for octet in b"GET / HTTP/1.1\r\n\r" {
        client.write_all(&[*octet]).unwrap();
        exchange.saw(READABLE);
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
        assert!(exchange.transferable().is_none());
    }
    client.write_all(b"\n").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    let mut request = exchange.take_request();
    assert!(exchange.transferable().is_none());
    exchange.recycle(&mut request);
    exchange.finish(AfterSending::KeepAlive);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
    assert!(exchange.transferable().is_some());
    exchange.share();
    assert!(exchange.transferable().is_none(), "the app has the socket, too");
}

#[test]
fn who_speaks_for_whom_is_known_where_the_connection_goes_on() {
    let options = Options { proxy_protocol: Some(ProxyProtocol::V1), ..Options::default() };
    let (mut client, mut exchange) = connected(&options);
    assert!(exchange.transferable().is_none(), "the preface is still to come");
    client.write_all(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n").unwrap();
    exchange.saw(READABLE);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Wait);
    assert!(exchange.transferable().is_some());
    let ticket = Ticket { peer: Peer::Unix, listener: 0, serial: 3, client: exchange.client() };
    assert_eq!(ticket.client, Some([10, 0, 0, 1].into()));

    let (mut client, mut other) = connected(&options);
    other.go_on_with(ticket);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(other.progress(&options, Instant::now()), Outcome::Queue);
    let request = other.take_request();
    assert_eq!((request.client, request.serial), (ticket.client, 3));
}

/// The head of a request has come whose body the application reads.
fn uploading(options: &Options, octets: &str) -> (UnixStream, Exchange) {
    let (mut client, mut exchange) = connected(options);
    client.write_all(octets.as_bytes()).unwrap();
    assert_eq!(exchange.progress(options, Instant::now()), Outcome::Queue);
    assert!(exchange.take_request().is_streamed());
    (client, exchange)
}

fn streaming() -> Options {
    let stream_uploads = Some(crate::config::options::Paths(vec!["/in/*".into()]));
    Options { stream_uploads, ..Options::default() }
}

const UPLOAD: &str = "POST /in/a HTTP/1.1\r\nContent-Length: 600\r\n\r\n";

#[test]
fn a_body_is_read_by_who_serves_its_request_and_by_nobody_else() {
    let options = streaming();
    let (mut client, mut exchange) = uploading(&options, UPLOAD);
    let mut body = Vec::new();
    let mut read =
        |exchange: &mut Exchange, serial| exchange.read_body(serial, 400, &mut body, true, &options);
    assert_eq!(read(&mut exchange, 0).unwrap(), Piece::Nothing);
    client.write_all(&[b'a'; 600]).unwrap();
    client.write_all(UPLOAD.as_bytes()).unwrap();
    assert!(matches!(read(&mut exchange, 1), Err(BodyFailure::Over)));
    let read_all: Vec<_> = (0..4).map(|_| read(&mut exchange, 0).unwrap()).collect();
    assert_eq!(read_all, [Piece::Octets, Piece::Octets, Piece::End, Piece::End]);
    assert_eq!(body, [b'a'; 600]);
    exchange.finish(AfterSending::KeepAlive);
    assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
    assert!(matches!(exchange.read_body(0, 1, &mut body, true, &options), Err(BodyFailure::Over)));
    assert_eq!(exchange.read_body(1, 1, &mut body, true, &options).unwrap(), Piece::Nothing);
    exchange.finish(AfterSending::KeepAlive);
    exchange.progress(&options, Instant::now());
    assert_eq!(exchange.activity(), Activity::Lingering, "the rest is no request");
}

#[test]
fn only_waiting_for_a_body_counts_against_its_client() {
    let (options, second) = (streaming(), Duration::from_secs(1));
    let (mut client, mut exchange) = uploading(&options, UPLOAD);
    let limit = |exchange: &mut Exchange| exchange.await_body(40 * second).map(|(_, limit)| limit);
    assert_eq!(limit(&mut exchange).unwrap(), 40 * second);
    exchange.waited_for_body(0, 39 * second);
    exchange.waited_for_body(1, 39 * second);
    assert_eq!(limit(&mut exchange).unwrap(), second);
    client.write_all(&[b'a'; 500]).unwrap();
    exchange.read_body(0, 500, &mut Vec::new(), true, &options).unwrap();
    assert_eq!(limit(&mut exchange).unwrap(), 22 * second, "a minute, and what 500 octets have earned");
    exchange.waited_for_body(0, 22 * second);
    assert!(matches!(limit(&mut exchange), Err(BodyFailure::Late)));
    assert!(matches!(exchange.read_body(0, 1, &mut Vec::new(), true, &options), Err(BodyFailure::Late)));
}

#[test]
fn by_tls_the_last_response_goes_out_with_what_is_said_before_and_after_it() {
    let options = Options::default();
    for after in [AfterSending::Close, AfterSending::Linger] {
        let Pair { server, mut client, given } = request(SslVersion::TLS1_3);
        let mut exchange = Exchange::new(server, &options, &Arc::default(), Instant::now());
        exchange.saw(READABLE);
        assert_eq!(exchange.progress(&options, Instant::now()), Outcome::Queue);
        assert!(exchange.take_held() && !exchange.is_blocked());
        exchange.take_request();
        exchange.write_last(RESPONSE, &options).unwrap();
        assert_eq!(client.wire().packets, 1, "what begins the handshake");
        exchange.finish(after);
        let outcome = if after == AfterSending::Close { Outcome::Close } else { Outcome::Wait };
        assert_eq!(exchange.progress(&options, Instant::now()), outcome);
        assert_eq!(client.read(), (RESPONSE.to_vec(), true));
        assert_eq!((client.wire().packets, *given.lock().unwrap()), (2, 2));
    }
}

#[test]
fn what_ends_a_handshake_does_not_wait_for_ever() {
    let options = Options::default();
    let Pair { server, mut client, given } = request(SslVersion::TLS1_3);
    let mut exchange = Exchange::new(server, &options, &Arc::default(), Instant::now());
    exchange.saw(READABLE);
    exchange.progress(&options, Instant::now());
    assert!(exchange.uncork(Instant::now()));
    assert!(!exchange.uncork(Instant::now()), "once");
    assert_eq!(client.read(), (Vec::new(), false));
    assert_eq!(*given.lock().unwrap(), 2);
}
