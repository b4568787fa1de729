//! The monitor, which is about to sleep × those who make something for it to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{every_order, request, thread};
use crate::pool::Seat;
use crate::pool::backlog::Backlog;
use crate::shared::{MonitorBell, Polling};
use crate::sync::atomic::{AtomicUsize, Ordering};

/// A Ruby thread waits in epoll, and nothing is to be done.
#[derive(Default)]
struct Server {
    bell: MonitorBell,
    polling: Polling,
    backlog: Backlog<()>,
}

fn server() -> Arc<Server> {
    let server = Arc::<Server>::default();
    server.polling.lead(true);
    server
}

impl Server {
    fn needs_monitor(&self) -> bool {
        self.polling.has_unfinished() || self.backlog.has_large()
    }

    /// As `watch`, when there was nothing to do for long.
    fn park(&self) {
        self.bell.park(None, || self.polling.is_led() && self.backlog.len() == 0 && !self.needs_monitor());
    }

    /// As `watch`, when there was nothing to do for a moment; but for the moment's end.
    fn rest(&self) {
        self.bell.set_resting(true);
        if !self.needs_monitor() {
            self.bell.rest(Duration::from_secs(1000));
        }
    }
}

#[test]
fn a_leader_that_stops_polling_wakes_it() {
    every_order(|| {
        let server = server();
        let leader = thread(&server, |server| {
            server.polling.lead(false);
            server.bell.rouse();
        });
        server.park();
        leader.join().unwrap();
    });
}

#[test]
fn a_request_that_another_thread_made_ready_wakes_it() {
    every_order(|| {
        let server = server();
        let pool_thread = thread(&server, |server| {
            server.backlog.push(request(false), Instant::now());
            server.bell.rouse();
        });
        server.park();
        pool_thread.join().unwrap();
    });
}

#[test]
fn what_is_left_to_somebody_without_the_gvl_wakes_it() {
    every_order(|| {
        let server = server();
        let pool_thread = thread(&server, |server| {
            if server.polling.note_unfinished(true) {
                server.bell.hurry();
            }
        });
        server.rest();
        pool_thread.join().unwrap();
    });
}

#[test]
fn a_large_request_that_is_kept_wakes_it() {
    every_order(|| {
        let server = server();
        let pool_thread = thread(&server, |server| {
            let pushed = [0; 2].map(|_| server.backlog.push(request(true), Instant::now()));
            assert_eq!(pushed, [true, false]);
            server.bell.hurry();
        });
        server.rest();
        pool_thread.join().unwrap();
    });
}

#[test]
fn a_large_request_that_is_kept_is_handed_over_when_the_one_before_is_done() {
    every_order(|| {
        let server = server();
        server.backlog.push(request(true), Instant::now());
        let seat = Seat::default();
        assert!(server.backlog.pop(&seat, Instant::now()).is_some());
        let poller = thread(&server, |server| {
            if !server.backlog.push(request(true), Instant::now()) {
                server.bell.hurry();
            }
        });
        server.backlog.done(&seat);
        poller.join().unwrap();
        assert_eq!((server.backlog.len(), server.backlog.kept()), (1, 0));
    });
}

/// Before the monitor parks, it shows the figures as it sees them.
#[test]
fn what_a_thread_changes_is_shown_by_it_or_by_the_monitor() {
    every_order(|| {
        let server = Arc::new((MonitorBell::default(), AtomicUsize::new(0), AtomicUsize::new(0)));
        server.0.set_looking(true);
        let worker = thread(&server, |(bell, figure, shown)| {
            figure.store(1, Ordering::Release);
            if !bell.is_looking() {
                shown.fetch_max(1, Ordering::Relaxed);
            }
        });
        let (bell, figure, shown) = &*server;
        bell.set_looking(false);
        shown.fetch_max(figure.load(Ordering::Acquire), Ordering::Relaxed);
        worker.join().unwrap();
        assert_eq!(shown.load(Ordering::Relaxed), 1);
    });
}
