//! What becomes of requests for which there is no thread, and of those that the application does not answer.

use super::*;
use crate::cluster::{Index, Phase};
use crate::config::options::{QueueLimits, RequestTimeout};
use crate::telemetry::{Telemetry, WorkerSnapshot};

const SOON: Duration = Duration::from_millis(50);

/// All that comes until the connection ends.
fn rest(client: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    client.read_to_end(&mut octets).unwrap();
    String::from_utf8(octets).unwrap()
}

fn begin(server: &Arc<Server>, seat: &Arc<Seat>) -> (Lease, Request) {
    loop {
        match server.next(seat) {
            Next::Serve(lease, request) => return (lease, request),
            Next::Wait => server.wait(seat),
            Next::Leave => panic!("it serves"),
        }
    }
}

/// The server's operator.
fn operator(server: &Server) -> Telemetry {
    let telemetry = Telemetry::new().unwrap();
    telemetry.prepare(PlaceId(0), Index(0), Phase(0));
    server.tell_in(telemetry.worker(PlaceId(0)).unwrap());
    telemetry
}

fn told(telemetry: &Telemetry) -> WorkerSnapshot {
    telemetry.read().workers[0].clone()
}

#[test]
fn who_waits_for_too_long_is_answered_though_no_thread_comes() {
    let queue = QueueLimits { time: Some(SOON), ..QueueLimits::default() };
    let (server, address) = server(Options { queue, max_threads: 1, ..Options::default() });
    let telemetry = operator(&server);
    server.start().unwrap();
    let seat = Arc::new(Seat::default());
    let mut first = client(address, REQUEST);
    let (lease, _) = begin(&server, &seat);

    let mut pipelined = client(address, &[REQUEST, REQUEST, b"GET / HTTP/1.0\r\n\r\n"].concat());
    let answers = rest(&mut pipelined);
    let heads: Vec<_> = answers.split_inclusive("\r\n\r\n").collect();
    assert_eq!(heads.len(), 3, "{answers}");
    for (head, version) in heads.iter().zip(["1.1", "1.1", "1.0"]) {
        assert!(
            head.starts_with(&format!("HTTP/{version} 503 Service Unavailable\r\nRetry-After: 1\r\n")),
            "{answers}"
        );
    }
    assert_eq!(told(&telemetry).shed, [3, 0, 0]);
    assert_eq!(server.shared.figures.requests(), 1);

    answer(lease, &seat);
    let mut response = vec![0; RESPONSE.len()];
    first.read_exact(&mut response).unwrap();
    server.halt();
    server.join();
}

#[test]
fn what_hangs_is_answered_by_the_server_and_its_thread_replaced() {
    let request_timeout = RequestTimeout { soft: None, hard: Some(SOON) };
    let (server, address) =
        server(Options { request_timeout, min_threads: 1, max_threads: 1, ..Options::default() });
    let telemetry = operator(&server);
    server.start().unwrap();
    let seat = Arc::new(Seat::default());
    let mut client = client(address, &[REQUEST, REQUEST].concat());
    let (lease, request) = begin(&server, &seat);
    let connection = Arc::clone(lease.connection());
    let in_hand = server.give(&lease, &request).unwrap();
    let answer = rest(&mut client);
    assert!(
        answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\nConnection: close\r\nContent-Length: 0\r\n"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/").count(), 1, "what follows is not read: {answer}");
    wait_until("the operator hears of it", || server.has_notices());
    assert!(
        matches!(server.take_notices().as_slice(), [Notice::GivenUp(late)] if late.to_string() == "GET /")
    );
    assert_eq!((server.given_up(), server.shared.threads.size.limit()), (vec![in_hand.serial()], 2));
    assert_eq!(told(&telemetry).timeouts, [0, 1]);

    // What the application does now goes nowhere.
    assert!(server.write(&connection, &[IoSlice::new(RESPONSE)]).is_err());
    assert!(server.hijack(&connection).is_none() && server.duplicate_socket(&connection).is_err());
    lease.finish(AfterSending::KeepAlive);
    // Nobody waits for it: not even who ends the server.
    server.drain();
    wait_until("it has drained", || server.status() == Status::Done);
    assert!(in_hand.end(), "too late");
    assert_eq!((server.given_up(), server.shared.threads.size.limit()), (vec![], 1));
    server.served(&seat);
    server.join();
}

#[test]
fn a_connection_that_the_application_has_taken_is_left_to_it() {
    let request_timeout = RequestTimeout { soft: None, hard: Some(SOON) };
    let (server, address) = server(Options { request_timeout, max_threads: 1, ..Options::default() });
    server.start().unwrap();
    let seat = Arc::new(Seat::default());
    let _client = client(address, REQUEST);
    let (lease, request) = begin(&server, &seat);
    let connection = Arc::clone(lease.connection());
    let in_hand = server.give(&lease, &request).unwrap();
    let taken = server.hijack(&connection);
    wait_until("it is past the limit", || server.shared.calls.rest(Instant::now()) == Some(SOON));
    assert!(taken.is_some() && !server.has_notices() && server.given_up().is_empty());
    assert!(!in_hand.end());
    lease.finish(AfterSending::Close);
    server.served(&seat);
    server.halt();
    server.join();
}
