//! The way of requests that fibers serve: the pump is the fiber that begins the others ([`crate::pool::fiber_lane`]).

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use super::{Lease, Server, Status};
use crate::connection::Connection;
use crate::connection::exchange::Audience;
use crate::connection::ownership::Ownership;
use crate::connection::request::Request;
use crate::pool::fiber_lane::FiberLane;
use crate::pool::queue::Entry;
use crate::telemetry::Shed;

/// What the pump does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pump {
    /// Have a fiber call [`Server::begin_in_fiber`].
    Begin,
    /// Interrupt the fibers that [`Server::take_gone`] names.
    Interrupt,
    /// Wait until [`Server::fiber_bell`] can be read, then call [`Server::pump_waited`].
    Wait,
    /// Look again in a moment: no request may be begun just now.
    Pause,
    /// End.
    Leave,
}

impl Server {
    fn lane(&self) -> Option<&FiberLane> {
        self.shared.fiber_lane.as_ref()
    }

    /// Readable when the pump has something to do; `None` without fibers.
    pub fn fiber_bell(&self) -> Option<BorrowedFd<'_>> {
        self.lane().map(FiberLane::descriptor)
    }

    /// What the pump does next; never waits.
    pub fn pump(&self) -> Pump {
        let Some(lane) = self.lane().filter(|_| self.is_at_home() && self.status() < Status::Done) else {
            return Pump::Leave;
        };
        loop {
            if lane.has_perhaps_gone() {
                return Pump::Interrupt;
            }
            if lane.is_ready() {
                return if self.shared.threads.is_held() { Pump::Pause } else { Pump::Begin };
            }
            if lane.lie_down() {
                break;
            }
        }
        // Who ends the server rings after it has said so.
        if self.status() < Status::Done { Pump::Wait } else { Pump::Leave }
    }

    /// The pump has waited, or does not want to.
    pub fn pump_waited(&self) {
        if let Some(lane) = self.lane() {
            lane.get_up();
        }
    }

    /// Has the pump look again.
    pub fn rouse_pump(&self) {
        if let Some(lane) = self.lane() {
            lane.ring();
        }
    }

    /// Fibers whose clients are gone for certain, each named once. By the pump: no fiber begins or ends a request meanwhile.
    pub fn take_gone(&self) -> Vec<u64> {
        let doubted = self.lane().map(FiberLane::take_perhaps_gone).unwrap_or_default();
        let gone = doubted.into_iter().filter_map(|connection| {
            let fiber = connection.fiber();
            let gone = fiber != 0 && self.is_client_gone(&connection);
            gone.then(|| {
                connection.set_fiber(0);
                fiber
            })
        });
        gone.collect()
    }

    /// The request that the calling fiber is to serve, and then to call [`Server::served_in_fiber`]; to be called with the
    /// GVL held. `None` when there is none after all. A fiber that has a number other than 0 is named by it when the client
    /// goes while it waits for something else ([`Server::take_gone`]).
    pub fn begin_in_fiber(self: &Arc<Self>, fiber: u64) -> Option<(Lease, Box<Request>)> {
        let lane = self.lane().filter(|_| self.is_at_home())?;
        let now = Instant::now();
        while lane.is_ready() && self.status() < Status::Done {
            let connection = lane.begin(now)?;
            // Counted before: either who holds the server sees it, or it sees that the server is held.
            if self.shared.threads.is_held() {
                self.put_back_in_lane(lane, &connection);
                return None;
            }
            if self.lane_passes_over(lane, &connection, now) {
                continue;
            }
            // Not on the stack, which each collection looks through while the fiber waits.
            let request = Box::new(self.take_request(&connection, false));
            if fiber != 0 {
                let mut exchange = connection.exchange();
                // A client that it is not known of goes unseen: that shows at the next write.
                let _ = self.shared.register(&connection, &mut exchange);
                drop(exchange);
                self.watch_client(&connection, fiber);
            }
            self.tell_wait(&request, now);
            self.show_soon();
            return Some((Lease::in_fiber(self, connection, now), request));
        }
        None
    }

    /// The calling fiber is done with a request that [`Server::begin_in_fiber`] gave it, with its hooks and all.
    pub fn served_in_fiber(&self) {
        let Some(lane) = self.lane().filter(|_| self.is_at_home()) else { return };
        self.shared.threads.note_served();
        let before = lane.end(Instant::now());
        self.shared.show_work();
        self.show_soon();
        if self.status() == Status::Draining && before <= 1 + lane.hung() {
            self.shared.wake_poller();
        }
    }

    /// From now on `fiber`, if that is not 0, hears when the client of `connection` goes.
    pub(super) fn watch_client(&self, connection: &Arc<Connection>, fiber: u64) {
        if fiber == 0 {
            return;
        }
        connection.set_fiber(fiber);
        self.make_up_for(connection, false);
        Ownership::see_each_other();
        if connection.owner.has_ended() {
            self.shared.doubt_client(connection);
        }
    }

    /// Whether the request is not to be begun: because its client is gone, or was just asked and others can be served until
    /// it has answered.
    fn lane_passes_over(&self, lane: &FiberLane, connection: &Arc<Connection>, now: Instant) -> bool {
        let audience = connection.exchange().audience(&self.shared.options, now);
        match audience {
            Audience::Waits => return false,
            Audience::Asked if lane.len() == 0 => return false,
            Audience::Asked => self.put_back_in_lane(lane, connection),
            Audience::Gone => {
                self.leave_unserved(connection, Shed::ClientGone);
                lane.end(now);
            }
        }
        true
    }

    fn put_back_in_lane(&self, lane: &FiberLane, connection: &Arc<Connection>) {
        let (since, exempt) = self.shared.waits_since(&connection.exchange());
        lane.put_back(Entry { request: Arc::clone(connection), since, large: false, exempt });
        lane.end(Instant::now());
    }

    /// Answers requests that no fiber will begin.
    pub(super) fn turn_away_in_lane(&self, now: Instant) {
        let Some(lane) = self.lane().filter(|lane| lane.is_limited()) else { return };
        let turned_away = lane.turn_away(now);
        for (connection, why) in &turned_away {
            self.leave_unserved(connection, *why);
        }
        if !turned_away.is_empty() {
            self.show();
        }
    }

    /// Requests wait in the lane that may have to be turned away.
    pub(super) fn lane_may_turn_away(&self) -> bool {
        self.lane().is_some_and(|lane| lane.is_limited() && lane.len() > 0)
    }
}
