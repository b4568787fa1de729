use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::Instant;

use rserve_http1::Version;

use super::*;

const FIGURES: usize = 3;

fn telemetry() -> Telemetry {
    let telemetry = Telemetry::new().unwrap();
    telemetry.server().begin(true, true);
    telemetry
}

fn worker(telemetry: &Telemetry, index: u32) -> Worker {
    telemetry.prepare(PlaceId(index), Index(index), Phase(0));
    telemetry.worker(PlaceId(index)).unwrap()
}

fn labels(status: u16) -> Labels {
    let mut labels = Labels::new(b"GET", false, Version::Http11);
    labels.answered(status);
    labels
}

#[test]
fn whoever_has_the_descriptor_reads_the_same() {
    let telemetry = telemetry();
    let server = telemetry.server();
    server.has_booted();
    assert_eq!(telemetry.read().server.phase, Some(ServerPhase::Running));
    server.enter(ServerPhase::Draining);
    server.has_booted();
    server.set_workers(3);
    server.set_exits(&std::array::from_fn(|reason| reason as u64));
    server.count_restart(RestartResult::FailedBoot);
    worker(&telemetry, 1).enter(WorkerState::Ready);
    let reader = Telemetry::open(telemetry.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let snapshot = reader.read();
    assert_eq!(snapshot.server.phase, Some(ServerPhase::Draining));
    assert_eq!((snapshot.server.workers_wanted, snapshot.server.cluster), (3, true));
    assert_eq!(snapshot.server.exits[WorkerExit::MaxMemory as usize], WorkerExit::MaxMemory as u64);
    assert_eq!(snapshot.server.restarts, [0, 1, 0, 0, 0]);
    assert_eq!(snapshot.workers.len(), 2);
    let present: Vec<_> = snapshot.present().map(|worker| (worker.index, worker.state, worker.pid)).collect();
    assert_eq!(present, [(1, WorkerState::Ready, Some(std::process::id()))]);
    let other = SharedFile::zeroed(c"other", WORDS).unwrap();
    assert!(Telemetry::open(other.as_fd().try_clone_to_owned().unwrap()).is_err(), "no such memory");
    assert!(telemetry.worker(PlaceId(Telemetry::PLACES)).is_none());
    telemetry.prepare(PlaceId(Telemetry::PLACES), Index(Telemetry::PLACES), Phase(0));
}

#[test]
fn what_was_counted_outlives_a_worker_and_what_it_shows_does_not() {
    let telemetry = telemetry();
    let first = worker(&telemetry, 0);
    first.show(|| [7; FIGURES], |_| (true, true));
    first.connection(None, Some(ConnectionState::Serving));
    first.request(labels(200), 1);
    first.part(Part::Queue, 1);
    first.shed(Shed::ClientGone);
    first.timeout(Timeout::Hard);
    let seat = first.seat().unwrap();
    seat.begin(b"GET", b"/", Instant::now());
    let before = telemetry.read().workers[0].clone();
    assert_eq!((before.figures[0], before.carried[0], before.connections[2]), (7, 0, 1));
    assert!(before.saturated_since.is_some() && before.threads.len() == 1);

    let second = worker(&telemetry, 0);
    // The one before it has not noticed.
    first.show(|| [9; FIGURES], |_| (true, true));
    first.connection(Some(ConnectionState::Serving), None);
    first.shed(Shed::ClientGone);
    seat.end();
    drop(seat);
    let after = telemetry.read().workers[0].clone();
    assert_eq!((after.figures[0], after.carried[0], after.connections), (0, 7, [0; 5]));
    assert_eq!((after.saturated_since, after.threads), (None, vec![]));
    assert_eq!((after.shed, after.timeouts), ([0, 0, 1], [0, 1]));
    assert_eq!((after.requests, after.parts), (before.requests, before.parts));

    second.show(|| [1; FIGURES], |_| (false, false));
    second.request(labels(200), 1);
    telemetry.vacate(PlaceId(0));
    let gone = telemetry.read();
    assert_eq!(gone.present().count(), 0);
    assert_eq!((gone.workers[0].figures[0], gone.workers[0].carried[0]), (0, 8));
    assert_eq!(gone.workers[0].requests[0].1.count(), 2);
}

#[test]
fn figures_that_change_while_they_are_shown_are_shown_anew() {
    let telemetry = telemetry();
    let worker = worker(&telemetry, 0);
    let asked = Cell::new(0);
    let figures = || {
        asked.set(asked.get() + 1);
        let figures = [asked.get(); FIGURES];
        if asked.get() == 1 {
            // Another thread changes them, and is done sooner.
            worker.show(|| [9; FIGURES], |_| (false, false));
        }
        figures
    };
    worker.show(figures, |_| (false, false));
    assert_eq!((telemetry.read().workers[0].figures[0], asked.get()), (2, 2));
}

#[test]
fn all_threads_are_busy_until_no_request_waits() {
    let telemetry = telemetry();
    let worker = worker(&telemetry, 0);
    for (waits, saturated, want) in [
        (true, false, false),
        (true, true, true),
        (true, false, true),
        (false, false, false),
        (true, false, false),
    ] {
        worker.show(|| [0; FIGURES], |_| (waits, saturated));
        assert_eq!(telemetry.read().workers[0].saturated_since.is_some(), want, "{waits} {saturated}");
    }
}

#[test]
fn a_thread_tells_what_it_serves_and_how_it_spends_its_time() {
    let telemetry = telemetry();
    let worker = worker(&telemetry, 0);
    let (first, second) = (worker.seat().unwrap(), worker.seat().unwrap());
    let threads = || telemetry.read().workers[0].threads.clone();
    assert!(threads().iter().all(|thread| thread.request.is_none() && thread.served == 0));
    let path = "/".repeat(200);
    second.begin(b"PROPFIND-AND-MORE", path.as_bytes(), Instant::now());
    second.change(ThreadState::Io);
    second.change(ThreadState::Gvl);
    let request = threads()[1].request.clone().unwrap();
    assert_eq!(
        (request.state, request.method.as_slice()),
        (ThreadState::Gvl, b"PROPFIND-AND-MOR".as_slice())
    );
    assert_eq!(request.path, &path.as_bytes()[..128]);
    let told = request.spent.running + request.spent.io + request.spent.gvl;
    assert!(told <= request.age + 1_000_000, "{request:?}");
    second.change(ThreadState::Running);
    let spent = second.end().unwrap();
    assert!(spent.gvl >= request.spent.gvl.min(1) && second.end().is_none());
    second.begin(b"GET", b"/a", Instant::now());
    let request = threads()[1].request.clone().unwrap();
    assert_eq!((request.method.as_slice(), request.path.as_slice()), (b"GET".as_slice(), b"/a".as_slice()));
    assert_eq!(threads()[1].served, 1);
    second.rest();
    second.rest();
    assert_eq!((threads()[1].request.is_none(), threads()[1].served), (true, 2));
    drop(first);
    assert_eq!(threads().iter().map(|thread| thread.seat).collect::<Vec<_>>(), [1]);
    assert!(worker.seat().is_some(), "a row that is free again");
    let all: Vec<_> = std::iter::from_fn(|| worker.seat()).collect();
    assert_eq!(all.len(), layout::SEATS - 1);
}

#[test]
fn of_two_workers_with_one_index_the_one_that_serves_is_shown() {
    let telemetry = telemetry();
    worker(&telemetry, 0).enter(WorkerState::Ready);
    telemetry.prepare(PlaceId(5), Index(0), Phase(0));
    let shown = || telemetry.read().by_index().map(|worker| (worker.index, worker.place)).collect::<Vec<_>>();
    assert_eq!(shown(), [(0, 0)], "its successor boots");
    telemetry.words[layout::place(5) + layout::worker::STARTED].fetch_add(1, Ordering::Relaxed);
    telemetry.worker(PlaceId(5)).unwrap().enter(WorkerState::Ready);
    assert_eq!(shown(), [(0, 5)]);
    assert_eq!(telemetry.read().present().count(), 2);
    telemetry.vacate(PlaceId(0));
    assert_eq!(shown(), [(0, 5)]);
}
