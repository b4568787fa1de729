//! A pool thread that is about to wait × those who want it, and one that begins a request × who wants none begun.

use std::sync::Arc;
use std::time::Instant;

use super::{every_order, most_orders, request, thread};
use crate::config::options::Options;
use crate::pool::Seat;
use crate::pool::backlog::Backlog;
use crate::shared::{Absences, Threads};
use crate::sync::atomic::Ordering;

struct Server {
    backlog: Backlog<()>,
    threads: Threads,
    absences: Absences,
    seat: Arc<Seat>,
}

fn server() -> Arc<Server> {
    Arc::new(Server {
        backlog: Backlog::default(),
        threads: Threads::new(&Options::default()),
        absences: Absences::default(),
        seat: Arc::default(),
    })
}

impl Server {
    /// As `Server::is_computing`.
    fn is_computing(&self) -> bool {
        self.threads.busy() > self.absences.away.load(Ordering::SeqCst)
    }
}

/// A thread waits while another one does what ends that; loom fails where it goes on waiting.
fn assert_wakes(change: impl Fn(&Server) + Copy + Send + Sync + 'static) {
    every_order(move || {
        let server = server();
        let other = thread(&server, change);
        server.backlog.wait(&server.seat, || server.threads.leaving() == 0);
        other.join().unwrap();
        assert_eq!(server.backlog.parked(), 0);
    });
}

#[test]
fn a_request_that_is_queued_and_called_for_wakes_one_who_waits() {
    assert_wakes(|server| {
        server.backlog.push(request(false), Instant::now());
        server.backlog.wake(1);
    });
}

#[test]
fn a_thread_that_ruby_wants_back_does_not_wait() {
    assert_wakes(|server| server.seat.interrupt());
}

#[test]
fn a_thread_that_is_to_leave_does_not_wait() {
    assert_wakes(|server| {
        server.threads.ask_to_leave(1);
        server.backlog.wake(1);
    });
}

#[test]
fn who_stands_back_is_called_when_the_one_that_computes_is_away() {
    every_order(|| {
        let server = server();
        assert!(server.threads.begin());
        server.backlog.push(request(false), Instant::now());
        let computes = thread(&server, |server| {
            // As `Server::thread_suspended`, where absences are long.
            server.absences.away.fetch_add(1, Ordering::SeqCst);
            if !server.is_computing() && server.backlog.parked() > 0 {
                server.backlog.wake(1);
            }
        });
        server.backlog.stand_back(&server.seat, || server.is_computing());
        computes.join().unwrap();
    });
}

#[test]
fn of_several_who_wait_each_is_woken() {
    most_orders(|| {
        let server = server();
        let waits = |server: &Server| {
            let seat = Arc::new(Seat::default());
            server.backlog.wait(&seat, || server.threads.leaving() == 0);
        };
        let others = [thread(&server, waits), thread(&server, waits)];
        server.threads.ask_to_leave(2);
        server.backlog.wake(2);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(server.backlog.parked(), 0);
    });
}

#[test]
fn nothing_is_begun_while_requests_are_held() {
    every_order(|| {
        let server = server();
        server.threads.note_served();
        let pool_thread = thread(&server, |server| server.threads.begin());
        let held = server.threads.hold(|| server.threads.busy());
        let begun = pool_thread.join().unwrap();
        assert!(!(held && begun));
        assert_eq!(server.threads.busy(), usize::from(begun));
    });
}
