//! Threads, clients and the monitor together, without Ruby.

use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::cluster::PlaceId;
use crate::cluster::balance::Board;
use crate::connection::exchange::AfterSending;
use crate::pool::Seat;
use crate::pool::large::LARGE;

mod encoders;
mod overload;
mod spin;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// The smallest large request.
fn upload() -> Vec<u8> {
    [format!("PUT / HTTP/1.1\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes(), vec![b'x'; LARGE as usize]]
        .concat()
}

fn server(options: Options) -> (Arc<Server>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::new(options).unwrap();
    server.add_listener(listener.as_raw_fd(), None).unwrap();
    (server, listener.local_addr().unwrap())
}

fn client(address: SocketAddr, octets: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(octets).unwrap();
    client
}

/// Polls, without a monitor, until there is what `wanted` looks for.
fn poll_until(server: &Server, what: &str, wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !wanted() {
        assert!(Instant::now() < deadline, "{what}");
        server.lock_poller().turn(&server.shared, Some(Duration::from_millis(1)));
    }
}

fn wait_until(what: &str, mut wanted: impl FnMut() -> bool) {
    // What is waited for may be that the other tests use less of the processor.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn taken(next: Next) -> Option<(Lease, Request)> {
    match next {
        Next::Serve(lease, request) => Some((lease, request)),
        Next::Wait | Next::Leave => None,
    }
}

fn answer(lease: Lease, seat: &Seat) {
    let server = Arc::clone(lease.server());
    server.write(lease.connection(), &[IoSlice::new(RESPONSE)]).unwrap();
    lease.finish(AfterSending::KeepAlive);
    server.served(seat);
}

/// A thread that computes keeps others from beginning requests for a while, but not for ever: not even when the request
/// was made ready by one that then stood back, while another one slept in epoll.
#[test]
fn a_request_is_served_beside_a_thread_that_computes_though_the_poller_sleeps() {
    let (server, address) =
        server(Options { suspensions_told: true, min_threads: 3, max_threads: 3, ..Options::default() });
    server.start().unwrap();
    let seat = Arc::new(Seat::default());
    let _computing = client(address, REQUEST);
    let (lease, _) = loop {
        match taken(server.next(&seat)) {
            Some(first) => break first,
            None => server.wait(&seat),
        }
    };
    let left = server.thread_suspended();

    let (begun, begins) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let goes_on = Arc::new(Mutex::new(goes_on));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (server, begun, goes_on) = (Arc::clone(&server), begun.clone(), Arc::clone(&goes_on));
            thread::spawn(move || {
                let seat = Arc::new(Seat::default());
                loop {
                    match server.next(&seat) {
                        Next::Serve(lease, _) => {
                            begun.send(()).unwrap();
                            let left = server.thread_suspended();
                            goes_on.lock().unwrap().recv().unwrap();
                            server.thread_back(left);
                            answer(lease, &seat);
                        }
                        Next::Wait => server.wait(&seat),
                        Next::Leave => return,
                    }
                }
            })
        })
        .collect();
    let mut client = client(address, REQUEST);
    begins.recv_timeout(Duration::from_secs(10)).expect("the first request is begun");
    wait_until("the other thread polls", || server.shared.polling.is_led());
    client.write_all(REQUEST).unwrap();
    server.thread_back(left);
    go_on.send(()).unwrap();
    begins.recv_timeout(Duration::from_secs(10)).expect("the second request is begun");
    go_on.send(()).unwrap();
    let mut responses = vec![0; RESPONSE.len() * 2];
    client.read_exact(&mut responses).unwrap();

    answer(lease, &seat);
    server.halt();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    server.join();
}

/// The application may look at the connection at the moment at which the poller would send more of its response.
#[test]
fn what_the_poller_could_not_send_is_sent_by_who_had_the_exchange() {
    let (server, address) = server(Options::default());
    server.shared.begin();
    let mut client = client(address, REQUEST);
    poll_until(&server, "the request", || server.shared.backlog.len() == 1);
    let (lease, _) = taken(server.next(&Seat::default())).expect("the request");
    let connection = Arc::clone(lease.connection());
    server.write(&connection, &[IoSlice::new(&vec![b'x'; 32 << 20])]).unwrap();
    let left = connection.exchange().outgoing().left();
    assert!(left > 0, "more than the sockets hold");
    client.read_exact(&mut vec![0; 1 << 20]).unwrap();

    let looking = connection.exchange();
    server.shared.returned().again.push(connection.id());
    server.lock_poller().turn(&server.shared, Some(Duration::ZERO));
    assert_eq!(looking.outgoing().left(), left);
    drop(looking);
    assert_eq!(server.tls_version(&connection), None);
    assert!(connection.exchange().outgoing().left() < left, "nobody sends more");
}

#[test]
fn a_request_that_only_waits_has_another_thread_take_its_place() {
    let (server, address) =
        server(Options { min_threads: 1, max_threads: 1, max_io_threads: 1, ..Options::default() });
    server.shared.begin();
    assert_eq!(server.manage(), Manage::Spawn);
    let (first, second) = (Seat::default(), Seat::default());
    let clients: Vec<_> = (0..3).map(|_| client(address, REQUEST)).collect();
    poll_until(&server, "the requests", || server.shared.backlog.len() == 3);
    let (waits, _) = taken(server.next(&first)).expect("the first request");
    server.shared.threads.want_one();
    assert_eq!(server.manage(), Manage::Wait, "no thread beyond the maximum");

    let io_bound = server.mark_io_bound();
    server.shared.threads.want_one();
    assert_eq!(server.manage(), Manage::Spawn, "one more");
    let (other, _) = taken(server.next(&second)).expect("the second request");
    let too_many = server.mark_io_bound();
    server.shared.threads.want_one();
    assert_eq!(server.manage(), Manage::Wait, "no more than that");
    let stats = server.stats();
    assert_eq!((stats.io_threads, stats.max_threads, stats.running, stats.pool_capacity), (2, 1, 2, 0));
    drop(too_many);
    answer(other, &second);

    drop(io_bound);
    answer(waits, &first);
    assert!(matches!(server.next(&first), Next::Leave), "one too many, though a request waits");
    server.leave();
    assert!(taken(server.next(&second)).is_some(), "the other one stays");
    drop(clients);
}

#[test]
fn threads_beyond_new_bounds_leave_and_missing_ones_are_made() {
    let (server, _) = server(Options { min_threads: 0, max_threads: 4, ..Options::default() });
    server.shared.begin();
    server.resize(3, 9);
    (0..3).for_each(|_| assert_eq!(server.manage(), Manage::Spawn));
    assert_eq!(server.manage(), Manage::Wait);
    server.resize(1, 2);
    assert!(matches!(server.next(&Seat::default()), Next::Leave));
    server.leave();
    assert!(matches!(server.next(&Seat::default()), Next::Wait), "two may stay");
    assert_eq!(server.stats().max_threads, 2);
}

/// How many of so many absences of a thread that serves count for the average, which begins with long ones; no other thread was
/// called for those.
fn absences_that_count(usual_stretch: u64, times: usize) -> usize {
    let (server, address) = server(Options { suspensions_told: true, ..Options::default() });
    server.shared.begin();
    let _client = client(address, REQUEST);
    poll_until(&server, "the request", || server.shared.backlog.len() == 1);
    let seat = Seat::default();
    let (lease, _) = taken(server.next(&seat)).expect("the request");
    let absences = &server.shared.absences;
    // More than any absence counts as: each that counts changes it.
    let long = 2 * crate::tuning::LONGEST_ABSENCE;
    absences.usual.store(long, Ordering::Relaxed);
    absences.usual_stretch.store(usual_stretch, Ordering::Relaxed);
    let counted = (0..times).filter(|_| {
        let before = absences.usual.load(Ordering::Relaxed);
        server.thread_back(server.thread_suspended());
        absences.usual.load(Ordering::Relaxed) != before
    });
    let counted = counted.count();
    assert!(absences.usual.load(Ordering::Relaxed) < long);
    answer(lease, &seat);
    counted
}

/// Otherwise absences that are short would look long for ever, once another thread has been called for a few that were.
#[test]
fn absences_in_which_another_thread_was_called_say_nothing() {
    assert_eq!(absences_that_count(0, 160), 10);
}

/// A line of a log in a page that computes for long: another page would take the GVL for as long.
#[test]
fn nobody_is_called_for_absences_that_are_few_beside_what_is_computed() {
    assert_eq!(absences_that_count(crate::tuning::LONGEST_STRETCH, 20), 20);
}

#[test]
fn one_large_request_is_served_at_a_time_and_small_ones_pass() {
    let (server, address) = server(Options { max_threads: 5, ..Options::default() });
    server.shared.begin();
    let uploads: Vec<_> = (0..2).map(|_| thread::spawn(move || client(address, &upload()))).collect();
    poll_until(&server, "both uploads", || server.shared.backlog.len() + server.shared.backlog.kept() == 2);
    assert_eq!((server.shared.backlog.len(), server.shared.backlog.kept()), (1, 1));
    assert_eq!(server.shared.work(), 2);

    let (first, second, third) = (Seat::default(), Seat::default(), Seat::default());
    let (large, request) = taken(server.next(&first)).expect("the first upload");
    assert_eq!(request.body.len(), LARGE);
    assert!(taken(server.next(&second)).is_none(), "the second one is kept");
    let _small = client(address, REQUEST);
    poll_until(&server, "the small request", || server.shared.backlog.len() == 1);
    let (small, _) = taken(server.next(&second)).expect("the small request");
    answer(small, &second);
    assert!(taken(server.next(&second)).is_none(), "still kept");

    answer(large, &first);
    let (kept, request) = taken(server.next(&second)).expect("the second upload");
    assert_eq!(request.body.len(), LARGE);
    assert!(taken(server.next(&third)).is_none());
    answer(kept, &second);
    assert_eq!(server.shared.work(), 0);
    uploads.into_iter().for_each(|upload| drop(upload.join().unwrap()));
}

/// What waits for a disk or a network rather than for the processor is not kept for long.
#[test]
fn another_large_request_is_served_beside_one_that_waits() {
    let (server, address) = server(Options { max_threads: 5, ..Options::default() });
    server.start().unwrap();
    let clients: Vec<_> = (0..2).map(|_| thread::spawn(move || client(address, &upload()))).collect();
    let seats = [Arc::new(Seat::default()), Arc::new(Seat::default())];
    let served: Vec<_> = seats
        .iter()
        .map(|seat| {
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                assert!(Instant::now() < deadline, "both are begun, and none is done");
                match taken(server.next(seat)) {
                    Some((lease, _)) => break lease,
                    None => server.wait(seat),
                }
            }
        })
        .collect();
    for (lease, seat) in served.into_iter().zip(&seats) {
        answer(lease, seat);
    }
    clients.into_iter().for_each(|client| drop(client.join().unwrap()));
    server.halt();
    server.join();
}

/// Takes the request of `address`' first client, has a second one wait that the server may not take now, and stops it.
fn assert_takes_who_waits(server: &Arc<Server>, address: SocketAddr, keep_out: impl FnOnce()) {
    server.shared.begin();
    let seat = Arc::new(Seat::default());
    let _first = client(address, REQUEST);
    poll_until(server, "the first request", || server.shared.backlog.len() == 1);
    let (lease, _) = taken(server.next(&seat)).unwrap();
    keep_out();
    let mut second = client(address, REQUEST);
    (0..3).for_each(|_| server.lock_poller().turn(&server.shared, Some(Duration::ZERO)));
    assert_eq!(server.shared.backlog.len(), 0, "it is not taken");
    server.drain();
    poll_until(server, "it is", || server.shared.backlog.len() == 1);
    answer(lease, &seat);
    server.resume();
    let (lease, _) = taken(server.next(&seat)).unwrap();
    answer(lease, &seat);
    let mut response = vec![0; RESPONSE.len()];
    second.read_exact(&mut response).unwrap();
    assert_eq!(response, RESPONSE);
}

#[test]
fn who_ends_takes_what_waits_for_a_thread() {
    let (server, address) = server(Options { queue_requests: false, max_threads: 1, ..Options::default() });
    assert_takes_who_waits(&server, address, || {});
}

#[test]
fn who_ends_takes_what_waits_for_something_out_of_band() {
    let (server, address) = server(Options::default());
    let threads = &server.shared.threads;
    assert_takes_who_waits(&server, address, || {
        threads.note_served();
        assert!(threads.hold(|| 0));
    });
}

/// Two workers of a cluster at one listener, of which the first has taken a client's connection and answered once.
struct Pair {
    first: Arc<Server>,
    second: Arc<Server>,
    board: Board,
    seat: Arc<Seat>,
    client: TcpStream,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let board = Board::new().unwrap();
        let worker = |index| {
            let server = Server::new(Options::default()).unwrap();
            server.add_listener(listener.as_raw_fd(), None).unwrap();
            server.add_gate(Gate::new(board.place(PlaceId(index)).unwrap()));
            server.shared.begin();
            server
        };
        let first = worker(0);
        let client = client(listener.local_addr().unwrap(), REQUEST);
        let mut pair = Self { first, second: worker(1), board, seat: Arc::default(), client };
        poll_until(&pair.first, "the request", || pair.first.shared.backlog.len() == 1);
        pair.answered_by(&Arc::clone(&pair.first));
        pair.second.lock_poller().turn(&pair.second.shared, Some(Duration::ZERO));
        pair
    }

    fn uploads_go_to_the_first(&self) {
        assert!(
            self.board
                .place(PlaceId(0))
                .unwrap()
                .begin_large(|serving, workers| (serving, workers) == (0, 2))
        );
    }

    fn answered_by(&mut self, server: &Arc<Server>) {
        poll_until(server, "the request", || server.shared.backlog.len() == 1);
        let (lease, _) = taken(server.next(&self.seat)).unwrap();
        answer(lease, &self.seat);
        let mut response = vec![0; RESPONSE.len()];
        self.client.read_exact(&mut response).unwrap();
        assert_eq!(response, RESPONSE);
    }

    fn is_waiting_between_them(&self) -> bool {
        crate::sys::is_readable(self.board.place(PlaceId(0)).unwrap().transfers().as_fd())
    }
}

#[test]
fn a_worker_that_serves_uploads_passes_its_connections_on() {
    let mut pair = Pair::new();
    let (first, second) = (Arc::clone(&pair.first), Arc::clone(&pair.second));
    pair.uploads_go_to_the_first();
    pair.client.write_all(REQUEST).unwrap();
    poll_until(&first, "the connection is passed on", || pair.is_waiting_between_them());
    pair.answered_by(&second);
    pair.client.write_all(REQUEST).unwrap();
    pair.answered_by(&second);
    first.drain();
    poll_until(&first, "the first has no connection", || first.status() == Status::Done);
}

#[test]
fn a_connection_that_was_passed_on_is_taken_by_the_last_who_ends() {
    let mut pair = Pair::new();
    let (first, second) = (Arc::clone(&pair.first), Arc::clone(&pair.second));
    pair.uploads_go_to_the_first();
    pair.client.write_all(REQUEST).unwrap();
    poll_until(&first, "the connection is passed on", || pair.is_waiting_between_them());
    second.drain();
    poll_until(&second, "the second has ended", || second.status() == Status::Done);
    first.drain();
    pair.answered_by(&first);
}

/// The client's upload is kept, because the second worker serves one.
fn kept_upload(pair: &Pair) -> thread::JoinHandle<()> {
    assert!(pair.board.place(PlaceId(1)).unwrap().begin_large(|serving, _| serving == 0));
    let mut client = pair.client.try_clone().unwrap();
    let sender = thread::spawn(move || client.write_all(&upload()).unwrap());
    poll_until(&pair.first, "the upload", || pair.first.shared.backlog.kept() == 1);
    assert!(taken(pair.first.next(&pair.seat)).is_none());
    assert_eq!(pair.first.shared.shown_work(), 0, "it needs no thread yet");
    sender
}

#[test]
fn an_upload_waits_while_another_worker_serves_one() {
    let mut pair = Pair::new();
    let first = Arc::clone(&pair.first);
    let sender = kept_upload(&pair);
    pair.board.place(PlaceId(1)).unwrap().end_large();
    let mut spent = None;
    wait_until("its turn has come", || {
        spent = first.weigh_large(spent);
        first.shared.backlog.len() == 1
    });
    pair.answered_by(&first);
    sender.join().unwrap();
    assert!(!pair.board.place(PlaceId(0)).unwrap().own().large, "it has ended its turn");
}

#[test]
fn a_worker_that_ends_does_not_wait_for_its_turn() {
    let mut pair = Pair::new();
    let first = Arc::clone(&pair.first);
    let sender = kept_upload(&pair);
    first.drain();
    pair.answered_by(&first);
    sender.join().unwrap();
}

#[test]
fn an_upload_that_waits_itself_gives_up_its_turn() {
    let pair = Pair::new();
    let mut client = pair.client.try_clone().unwrap();
    let sender = thread::spawn(move || client.write_all(&upload()).unwrap());
    poll_until(&pair.first, "the upload", || pair.first.shared.backlog.len() == 1);
    let (lease, _) = taken(pair.first.next(&pair.seat)).unwrap();
    let place = pair.board.place(PlaceId(0)).unwrap();
    assert!(place.own().large);
    let mut spent = None;
    wait_until("others may serve theirs", || {
        spent = pair.first.weigh_large(spent);
        !place.own().large
    });
    answer(lease, &pair.seat);
    sender.join().unwrap();
}
