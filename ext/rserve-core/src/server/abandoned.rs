//! Complete requests that no thread begins: nobody waits for them any more, or they have waited for too long
//! ([`crate::pool::queue`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Server;
use crate::connection::Connection;
use crate::connection::exchange::Audience;
use crate::pool::Seat;
use crate::telemetry::Shed;

impl Server {
    /// Whether the request that the thread of `seat` took from the backlog is not to be begun by it: because its client
    /// is gone, or was just asked and others can be served until it has answered.
    pub(super) fn is_passed_over(&self, seat: &Seat, connection: &Arc<Connection>, now: Instant) -> bool {
        let audience = connection.exchange().audience(&self.shared.options, now);
        let others = self.shared.backlog.len() > 0 && !seat.serves_large();
        match audience {
            Audience::Waits => return false,
            Audience::Asked if !others => return false,
            Audience::Asked => self.shared.put_back(connection),
            Audience::Gone => self.leave_unserved(connection, Shed::ClientGone),
        }
        self.put_down(seat);
        true
    }

    /// Answers requests that no thread will begin; by the monitor, since every thread may be in the application.
    pub(super) fn turn_away(&self, now: Instant) {
        if !self.shared.backlog.is_limited() {
            return;
        }
        let threads = self.shared.threads.size.limit();
        let (turned_away, more) = self.shared.backlog.turn_away(threads, now);
        for (connection, why) in &turned_away {
            self.leave_unserved(connection, *why);
        }
        if !turned_away.is_empty() {
            self.show();
        }
        if more {
            self.shared.nudge();
        }
    }

    pub(super) fn leave_unserved(&self, connection: &Arc<Connection>, why: Shed) {
        let stays = self.status() == super::Status::Running;
        let mut exchange = connection.exchange();
        let (after, why) = exchange.answer_unserved(&self.shared.options, connection.peer(), why, stays);
        self.tell_shed(why);
        self.conclude(connection, exchange, after);
    }

    /// The thread of `seat` has no request any more.
    pub(super) fn put_down(&self, seat: &Seat) {
        if seat.serves_large() {
            self.shared.absences.away.fetch_sub(1, Ordering::SeqCst);
        }
        self.shared.backlog.done(seat);
        let before = self.shared.threads.end();
        self.shared.show_work();
        self.show_soon();
        if self.status() == super::Status::Draining && before <= 1 + self.shared.threads.size.hung() {
            self.shared.wake_poller();
        }
    }
}
