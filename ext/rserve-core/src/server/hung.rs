//! Requests that hang in the application: who answers in its place, and who takes the place of its thread. How long they
//! may take is in [`crate::shared`]'s calls.

use std::time::{Duration, Instant};

use super::{Late, Lease, Notice, Server};
use crate::connection::request::Request;
use crate::pool::fiber_lane::FiberLane;
use crate::telemetry::Timeout;

/// A request in the application's hands, until this is dropped.
pub struct InHand<'a> {
    server: &'a Server,
    serial: u64,
    in_fiber: bool,
    ended: bool,
}

impl InHand<'_> {
    /// By which the server tells of it ([`Late`]).
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// A fiber has it.
    pub fn is_in_fiber(&self) -> bool {
        self.in_fiber
    }

    /// The application has given it back: `true` when the server has answered in its place, and the connection is no
    /// longer the caller's.
    pub fn end(mut self) -> bool {
        self.ended = true;
        self.server.take_back(self.serial, self.in_fiber)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.server.take_back(self.serial, self.in_fiber);
        }
    }
}

impl Server {
    /// The request of `lease` is the application's from when it was taken until what this returns is dropped; `None` where
    /// nobody wants to know.
    pub fn give(&self, lease: &Lease, request: &Request) -> Option<InHand<'_>> {
        let (octets, head) = (request.octets.as_slice(), &request.head);
        let (method, path) = (head.method.of(octets), head.path.of(octets));
        let (in_fiber, since) = (lease.is_in_fiber(), lease.taken_at());
        let serial = self.shared.calls.begin(method, path, lease.connection(), in_fiber, since)?;
        Some(InHand { server: self, serial, in_fiber, ended: false })
    }

    fn take_back(&self, serial: u64, in_fiber: bool) -> bool {
        let given_up = self.is_at_home() && self.shared.calls.end(serial);
        if given_up && in_fiber {
            self.shared.fiber_lane.iter().for_each(FiberLane::one_hung_less);
        } else if given_up {
            self.shared.threads.size.one_hung_less();
            self.show_size();
            self.let_surplus_go();
        }
        given_up
    }

    /// The request of this serial may take longer than others.
    pub fn extend(&self, serial: u64, by: Duration) {
        if self.is_at_home() {
            self.shared.calls.extend(serial, by);
        }
    }

    /// Requests of which the operator is to be told, because they take long.
    pub fn take_late(&self) -> Vec<Late> {
        let late = self.shared.calls.take_late(Instant::now());
        late.iter().for_each(|_| self.tell_timeout(Timeout::Soft));
        late
    }

    /// Requests that the server has answered in the application's place, and that still hang.
    pub fn given_up(&self) -> Vec<u64> {
        self.shared.calls.given_up()
    }

    /// Answers what the application has had for too long; by the monitor, since no thread of Ruby's may come to it.
    pub(super) fn give_up_hung(&self, now: Instant) {
        for (late, connection) in self.shared.calls.overdue(now) {
            let mut exchange = connection.exchange();
            if exchange.stream().is_none() {
                self.shared.calls.excuse(late.serial);
                continue;
            }
            if !self.shared.calls.give_up(late.serial) {
                continue;
            }
            // Before the connection is let go: whoever ends looks at both.
            if late.in_fiber {
                self.shared.fiber_lane.iter().for_each(FiberLane::one_hung_more);
                self.rouse_pump();
            } else {
                self.shared.threads.size.one_hung_more();
                self.show_size();
            }
            let after = exchange.answer_for_application(&self.shared.options);
            self.conclude(&connection, exchange, after);
            self.tell_timeout(Timeout::Hard);
            self.show();
            self.shared.notify(Notice::GivenUp(late));
        }
    }
}
