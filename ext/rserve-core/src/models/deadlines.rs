//! A connection's deadline × the poller's look at all of them × who sleeps in epoll.

use std::sync::Arc;

use super::{every_order, thread};
use crate::connection::ownership::{NEVER, Ownership};
use crate::net::edges::READABLE;
use crate::shared::{Deadlines, Polling};
use crate::sys::Parking;

/// One connection with a Ruby thread, and the poller.
struct Server {
    owner: Ownership,
    deadlines: Deadlines,
    polling: Polling,
    /// In epoll's place.
    epoll: Parking,
}

fn server() -> Arc<Server> {
    let owner = Ownership::new();
    owner.occupy();
    let (deadlines, polling) = (Deadlines::new(None), Polling::default());
    Arc::new(Server { owner, deadlines, polling, epoll: Parking::default() })
}

impl Server {
    /// As `Shared::deadline_at`.
    fn set_deadline(&self, millis: u64) {
        if self.deadlines.set(&self.owner, millis) && self.polling.is_led() {
            self.epoll.wake();
        }
    }

    /// As `Poller::expire`: whether the connection was given up.
    fn expire(&self, millis: u64) -> bool {
        if !self.deadlines.take_next(millis) {
            return false;
        }
        let deadline = self.owner.deadline();
        if deadline <= millis {
            return self.owner.take_overdue(millis);
        }
        if deadline != NEVER {
            self.deadlines.look_by(deadline);
        }
        false
    }
}

#[test]
fn the_poller_does_not_forget_a_deadline_that_is_set_while_it_looks() {
    every_order(|| {
        let server = server();
        // Another connection's, which has closed meanwhile.
        server.deadlines.look_by(10);
        let pool_thread = thread(&server, |server| server.set_deadline(20));
        assert!(!server.expire(15));
        pool_thread.join().unwrap();
        assert!(server.deadlines.next() <= 20, "nobody looks in time");
    });
}

#[test]
fn who_sleeps_in_epoll_knows_of_a_deadline_that_is_set_meanwhile() {
    every_order(|| {
        let server = server();
        let pool_thread = thread(&server, |server| {
            server.owner.let_go(|_| {
                server.set_deadline(20);
                true
            });
        });
        server.polling.lead(true);
        // Each turn either has a time to wake up, or sleeps until it is woken.
        while server.deadlines.next() == NEVER {
            server.epoll.park(None);
        }
        assert!(!server.expire(19));
        pool_thread.join().unwrap();
        assert!(server.expire(20));
    });
}

#[test]
fn a_connection_is_not_given_up_for_the_deadline_of_an_earlier_wait() {
    every_order(|| {
        let server = server();
        let pool_thread = thread(&server, |server| {
            // Its thread was held up for long between the two: the first deadline has passed.
            let (mut deadlines, mut last) = ([10, 100].into_iter(), NEVER);
            server.owner.let_go(|_| {
                last = deadlines.next().unwrap_or(NEVER);
                server.set_deadline(last);
                last != NEVER
            });
            last
        });
        server.owner.saw(READABLE);
        let given_up = server.expire(50);
        let deadline = pool_thread.join().unwrap();
        assert!(!given_up || deadline <= 50, "it had until {deadline}");
    });
}
