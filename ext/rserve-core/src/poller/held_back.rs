//! What ended a TLS handshake and waits for the response to a request that came with it, to go out together: for a moment
//! only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Poller;
use crate::connection::ConnectionId;
use crate::connection::exchange::{Exchange, Outcome};
use crate::shared::Shared;

/// Most applications answer by then; and what clients get so much later is for connections to come.
const HELD_TIME: Duration = Duration::from_millis(10);

/// Connections on which something is held back, and until when it may be, the next first.
#[derive(Default)]
pub(super) struct HeldBack(VecDeque<(Instant, ConnectionId)>);

impl HeldBack {
    fn push(&mut self, id: ConnectionId, now: Instant) {
        self.0.push_back((now + HELD_TIME, id));
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.front().map(|(due, _)| *due)
    }

    fn take_due(&mut self, now: Instant) -> Option<ConnectionId> {
        self.due().filter(|due| *due <= now)?;
        self.0.pop_front().map(|(_, id)| id)
    }
}

impl Poller {
    /// What has just ended a handshake waits if there is a response to be made. Otherwise it goes out: a client may hold its
    /// request back until it hears that we have what it has sent before (Nagle's algorithm), and nothing else says so for
    /// 40 ms.
    pub(super) fn hold_back(
        &mut self,
        id: ConnectionId,
        exchange: &mut Exchange,
        outcome: Outcome,
        now: Instant,
    ) {
        match outcome {
            Outcome::Queue => self.held_back.push(id, now),
            // It will go out, with what HTTP/2 begins with, or the last that there is to say.
            Outcome::Carry | Outcome::Close => {}
            Outcome::Wait | Outcome::Again => drop(exchange.uncork(now)),
        }
    }

    /// Sends what has waited for too long.
    pub(super) fn send_held_back(&mut self, shared: &Shared, now: Instant) {
        while let Some(id) = self.held_back.take_due(now) {
            let Some(connection) = self.slots.get(id).map(Arc::clone) else { continue };
            // Who has it may be sending, and may be making a body.
            let Some(mut exchange) = connection.try_exchange() else {
                self.held_back.push(id, now);
                continue;
            };
            // What the socket does not take is for the edge that follows.
            if exchange.uncork(now)
                && exchange.is_blocked()
                && shared.register(&connection, &mut exchange).is_err()
            {
                exchange.cut_off();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_so_for_a_moment_and_in_order() {
        let mut held_back = HeldBack::default();
        let began = Instant::now();
        assert_eq!(held_back.due(), None);
        let [one, other] = [1, 2].map(|token| ConnectionId::of_token(mio::Token(token)));
        held_back.push(one, began);
        held_back.push(other, began + Duration::from_millis(1));
        assert_eq!(held_back.due(), Some(began + HELD_TIME));
        assert_eq!(held_back.take_due(began), None);
        assert_eq!(held_back.take_due(began + HELD_TIME), Some(one));
        assert_eq!(held_back.take_due(began + HELD_TIME), None);
        assert_eq!(held_back.take_due(began + 2 * HELD_TIME), Some(other));
        assert_eq!(held_back.due(), None);
    }
}
