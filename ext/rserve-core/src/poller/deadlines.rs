//! Connections that have waited for too long.

use std::sync::Arc;
use std::time::Instant;

use super::Poller;
use crate::connection::Connection;
use crate::connection::ownership::NEVER;
use crate::shared::{Notice, Shared, Status};

/// Deadlines are looked at no more often than this.
const EXPIRE_EVERY: u64 = 50;

impl Poller {
    /// Ends what has waited too long.
    pub(super) fn expire(&mut self, shared: &Shared, now: Instant) {
        let millis = shared.deadlines.millis(now);
        if shared.life.take_eviction() {
            for connection in self.slots.iter().filter(|connection| !connection.owner.is_busy()) {
                self.say_goodbye(shared, connection, &mut connection.exchange(), now, now);
                shared.deadline_at(connection, now);
            }
        }
        if !shared.deadlines.take_next(millis) {
            return;
        }
        let all_idle = || self.slots.iter().all(|c| !c.owner.is_busy() && c.exchange().is_idle());
        // Nobody can come before it opens.
        let mut next = if self.held { NEVER } else { shared.idle_deadline(all_idle, now) };
        let mut expired = Vec::new();
        for connection in self.slots.iter() {
            let deadline = connection.owner.deadline();
            if deadline <= millis {
                expired.push(Arc::clone(connection));
            } else {
                next = next.min(deadline);
            }
        }
        for connection in expired {
            if connection.owner.take_overdue(millis) {
                self.give_up(shared, &connection, now);
            }
        }
        if next != NEVER {
            shared.deadlines.look_by(next.max(millis + EXPIRE_EVERY));
        }
    }

    pub(super) fn give_up(&mut self, shared: &Shared, connection: &Arc<Connection>, now: Instant) {
        let mut exchange = connection.exchange();
        if exchange.is_carriage() {
            return self.carriage_is_due(shared, connection, exchange, now);
        }
        let late = match (exchange.in_body(), exchange.in_head()) {
            (true, _) => Some("body"),
            // At the end of a server it is not the client that is late (Puma).
            (_, true) if shared.status() < Status::Draining => Some("head"),
            // A client that has sent nothing has no request to be answered.
            _ => None,
        };
        if let Some(part) = late {
            shared.notify(Notice::TimedOut(connection.peer(), part));
            exchange.answer_timeout(&shared.options, connection.peer());
            drop(exchange);
            self.run(shared, connection, true, now);
        } else {
            self.close(shared, connection, &mut exchange);
        }
    }
}
