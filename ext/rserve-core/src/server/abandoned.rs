//! Requests that nobody waits for any more are not begun.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Server;
use crate::connection::Connection;
use crate::connection::exchange::{AfterSending, Audience};
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
            Audience::Asked => {
                self.shared.backlog.push(Arc::clone(connection), false, now);
            }
            Audience::Gone => {
                self.tell_shed(Shed::ClientGone);
                self.finish(connection, AfterSending::Abort);
            }
        }
        self.put_down(seat);
        true
    }

    /// The thread of `seat` has no request any more.
    pub(super) fn put_down(&self, seat: &Seat) {
        if seat.serves_large() {
            self.shared.absences.away.fetch_sub(1, Ordering::SeqCst);
        }
        self.shared.backlog.done(seat);
        let before = self.shared.threads.busy.fetch_sub(1, Ordering::SeqCst);
        self.shared.show_work();
        self.show();
        if before == 1 && self.status() == super::Status::Draining {
            self.shared.wake_poller();
        }
    }
}
