//! What a poller does with real sockets.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};

use super::*;
use crate::config::options::Options;
use crate::net::tls;
use crate::net::tls::tests::context;

/// A poller that polls only when it is told to, and what it would share with others.
fn serving(listener: &TcpListener, tls: Option<Arc<tls::Context>>) -> (Poller, Shared) {
    let (mut poller, registry, waker) = Poller::new().unwrap();
    let shared = Shared::new(Options::default(), registry, waker).unwrap();
    poller.add_listener(Listener::duplicate(listener.as_raw_fd(), tls, Arc::default()).unwrap()).unwrap();
    assert!(shared.begin());
    (poller, shared)
}

/// The work that `client` makes is left alone by a thread that holds the GVL, and done by one that polls.
fn assert_waits_for_a_poller<T>((mut poller, shared): (Poller, Shared), client: thread::JoinHandle<T>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while poller.heavy.is_empty() && Instant::now() < deadline {
        poller.light_turn(&shared);
    }
    assert!(shared.polling.has_unfinished(), "somebody else is to do it");
    for _ in 0..100 {
        poller.light_turn(&shared);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!client.is_finished(), "the client came further");
    assert_eq!(shared.backlog.len(), 0);

    while shared.backlog.len() == 0 && Instant::now() < deadline {
        poller.turn(&shared, Some(Duration::from_millis(10)));
    }
    assert_eq!(shared.backlog.len(), 1, "the request has come");
    client.join().unwrap();
}

#[test]
fn a_thread_that_holds_the_gvl_takes_no_step_of_a_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = serving(&listener, Some(context()));
    let client = tls_client(address);
    assert_waits_for_a_poller(server, client);
}

#[test]
fn a_thread_that_holds_the_gvl_stores_no_upload() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = serving(&listener, None);
    let client = upload(address, 32 << 20); // more than the sockets hold
    assert_waits_for_a_poller(server, client);
}

/// A client that sends a request with so many octets.
fn upload(address: SocketAddr, length: usize) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "PUT / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").unwrap();
        (0..length / 4096).for_each(|_| client.write_all(&[b'x'; 4096]).unwrap());
        client
    })
}

fn tls_client(address: SocketAddr) -> thread::JoinHandle<SslStream<TcpStream>> {
    thread::spawn(move || {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        let stream = TcpStream::connect(address).unwrap();
        let mut stream = connector.build().connect("localhost", stream).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        stream
    })
}

#[test]
fn handshakes_go_on_while_uploads_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut poller, shared) = serving(&listener, Some(context()));
    let client = tls_client(listener.local_addr().unwrap());
    let started = Instant::now();
    poller.uploads.rest_until(started + Duration::from_secs(60));
    while shared.backlog.len() == 0 && started.elapsed() < Duration::from_secs(10) {
        poller.light_turn(&shared);
        poller.turn(&shared, Some(Duration::from_millis(10)));
    }
    assert_eq!(shared.backlog.len(), 1, "the request has come");
    drop(client.join().unwrap());
}

#[test]
fn uploads_go_on_after_their_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut poller, shared) = serving(&listener, None);
    let client = upload(listener.local_addr().unwrap(), 32 << 20); // more than the sockets hold
    let until = Instant::now() + Duration::from_millis(300);
    poller.uploads.rest_until(until);
    while shared.backlog.len() == 0 && until.elapsed() < Duration::from_secs(10) {
        poller.light_turn(&shared);
        poller.turn(&shared, Some(Duration::from_secs(10)));
    }
    assert_eq!(shared.backlog.len(), 1, "the request has come");
    assert!(Instant::now() >= until, "not before");
    assert_eq!(poller.uploads.due(), None);
    drop(client.join().unwrap());
}

#[test]
fn whoever_sends_fast_waits_in_the_queue_once() {
    const UPLOADS: usize = 8;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut poller, shared) = serving(&listener, None);
    let clients: Vec<_> = (0..UPLOADS).map(|_| upload(address, 8 << 20)).collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    while shared.work() < UPLOADS && Instant::now() < deadline {
        poller.turn(&shared, Some(Duration::from_millis(1)));
        assert!(poller.again.len() <= UPLOADS, "{} wait", poller.again.len());
    }
    assert_eq!(shared.work(), UPLOADS);
    clients.into_iter().for_each(|client| drop(client.join().unwrap()));
}
