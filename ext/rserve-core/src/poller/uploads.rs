//! When the poller leaves uploads alone, so that requests are served whose clients wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connection::ConnectionId;
use crate::tuning::{SLOW_TURN, UPLOADS_REST};

#[derive(Default)]
pub(super) struct Uploads {
    /// They are left alone until then.
    rest_until: Option<Instant>,
    /// Those with more to store then.
    resting: VecDeque<ConnectionId>,
    /// Some of one was stored in this turn.
    stored: bool,
    /// Requests that had begun when uploads last rested, or might have.
    begun: u64,
}

impl Uploads {
    pub(super) fn rest(&self) -> bool {
        self.rest_until.is_some()
    }

    pub(super) fn rest_until(&mut self, until: Instant) {
        self.rest_until = Some(until);
    }

    /// This one has more to store when the rest is over.
    pub(super) fn push(&mut self, id: ConnectionId) {
        self.resting.push_back(id);
    }

    /// When somebody has to look at those that rest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.rest_until.filter(|_| !self.resting.is_empty())
    }

    /// Moves those whose rest is over to `left`.
    pub(super) fn wake(&mut self, left: &mut VecDeque<ConnectionId>, now: Instant) {
        if self.rest_until.is_some_and(|until| until <= now) {
            self.rest_until = None;
            left.append(&mut self.resting);
        }
    }

    pub(super) fn turn_begins(&mut self) {
        self.stored = false;
    }

    pub(super) fn stored(&mut self) {
        self.stored = true;
    }

    /// A turn that was late ends after `took`: `begun` requests have begun so far, and `waits` when an upload is owed an
    /// answer.
    pub(super) fn late_turn_ends(&mut self, took: Duration, begun: u64, waits: bool, now: Instant) {
        if !self.stored {
            return;
        }
        let before = std::mem::replace(&mut self.begun, begun);
        if (before != begun || waits) && took < SLOW_TURN {
            self.rest_until(now + UPLOADS_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_micros(400);

    fn after(stored: bool, took: Duration, begun: u64, waits: bool) -> bool {
        let mut uploads = Uploads { begun: 7, ..Uploads::default() };
        if stored {
            uploads.stored();
        }
        uploads.late_turn_ends(took, begun, waits, Instant::now());
        uploads.rest()
    }

    #[test]
    fn they_rest_for_requests_that_are_served_and_for_one_that_waits() {
        assert!(after(true, TOOK, 8, false));
        assert!(after(true, TOOK, 7, true));
        assert!(!after(true, TOOK, 7, false), "nobody gains");
        assert!(!after(false, TOOK, 8, true), "none was stored");
        assert!(!after(true, SLOW_TURN, 8, true), "the disk's turn, not the processor's");
    }

    #[test]
    fn they_go_on_when_the_rest_is_over() {
        let now = Instant::now();
        let mut uploads = Uploads::default();
        uploads.rest_until(now + UPLOADS_REST);
        assert_eq!(uploads.due(), None, "nobody to go on with");
        uploads.push(ConnectionId { slot: 1, generation: 1 });
        assert_eq!(uploads.due(), Some(now + UPLOADS_REST));

        let mut left = VecDeque::new();
        uploads.wake(&mut left, now);
        assert!(uploads.rest() && left.is_empty());
        uploads.wake(&mut left, now + UPLOADS_REST);
        assert!(!uploads.rest() && left.len() == 1);
    }
}
