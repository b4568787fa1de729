//! Connections that have waited for too long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Poller;
use crate::connection::{Connection, NEVER};
use crate::shared::{Notice, Shared, Status};

/// Deadlines are looked at no more often than this.
const EXPIRE_EVERY: u64 = 50;

impl Poller {
    /// Ends what has waited too long.
    pub(super) fn expire(&mut self, shared: &Shared, now: Instant) {
        let millis = shared.deadlines.millis(now);
        if shared.life.take_eviction() {
            for connection in self.slots.iter().filter(|connection| !connection.is_busy()) {
                shared.deadline_at(connection, now);
            }
        }
        if millis < shared.deadlines.next.load(Ordering::Acquire) {
            return;
        }
        shared.deadlines.next.store(NEVER, Ordering::Release);
        let mut next =
            shared.idle_deadline(|| self.slots.iter().all(|c| !c.is_busy() && c.exchange().is_idle()), now);
        let mut expired = Vec::new();
        for connection in self.slots.iter() {
            let deadline = connection.deadline.load(Ordering::Relaxed);
            if deadline <= millis {
                expired.push(Arc::clone(connection));
            } else {
                next = next.min(deadline);
            }
        }
        for connection in expired {
            if connection.saw(0) {
                self.give_up(shared, &connection, now);
            }
        }
        if next != NEVER {
            shared.deadlines.next.fetch_min(next.max(millis + EXPIRE_EVERY), Ordering::AcqRel);
        }
    }

    pub(super) fn give_up(&mut self, shared: &Shared, connection: &Arc<Connection>, now: Instant) {
        let mut exchange = connection.exchange();
        connection.deadline.store(NEVER, Ordering::Relaxed);
        let late = match (exchange.in_body(), exchange.in_head()) {
            (true, _) => Some("body"),
            // At the end of a server it is not the client that is late (Puma).
            (_, true) if shared.status() < Status::Draining => Some("head"),
            // Who has sent nothing did not ask anything.
            _ => None,
        };
        if let Some(part) = late {
            shared.notify(Notice::TimedOut(connection.peer(), part));
            exchange.answer_timeout(&shared.options, connection.peer());
            drop(exchange);
            self.run(shared, connection, true, now);
        } else {
            self.close(connection, &mut exchange);
        }
    }
}
