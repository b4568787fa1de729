//! A worker's side of whose turn it is to serve large requests.

use std::time::{Duration, Instant};

use super::Place;

/// No other request in the whole cluster for so long: nobody is there to be spared.
const QUIET: Duration = Duration::from_secs(1);

/// So long a worker waits for its turn at most.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What a worker sees that has a large request and serves none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Turn {
    /// Other workers that serve one.
    pub serving: usize,
    /// Workers that take connections, this one included.
    pub workers: usize,
    /// Time since any worker began another request than a large one.
    pub quiet: Duration,
    /// How long this worker has waited for its turn.
    pub waited: Duration,
}

impl Turn {
    /// Whether it may begin.
    pub fn has_come(self) -> bool {
        self.serving < (self.workers / 2).max(1) || self.quiet >= QUIET || self.waited >= LONGEST_WAIT
    }
}

/// Asks for the turn, and ends it; the others see it on the board.
#[derive(Debug)]
pub(crate) struct LargeTurns {
    place: Place,
    /// What [`Place::begun_by_all`] said last, and since when it says so.
    begun: (u32, Option<Instant>),
}

impl LargeTurns {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, begun: (0, None) }
    }

    /// Whether this worker may begin to serve large requests now; if so, it has begun. It has waited for it since
    /// `since`.
    pub(crate) fn begin(&mut self, since: Instant, now: Instant) -> bool {
        let begun = self.place.begun_by_all();
        if self.begun.0 != begun || self.begun.1.is_none() {
            self.begun = (begun, Some(now));
        }
        let quiet = self.begun.1.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let waited = now.saturating_duration_since(since);
        self.place.begin_large(|serving, workers| Turn { serving, workers, quiet, waited }.has_come())
    }

    /// It serves none any more.
    pub(crate) fn end(&self) {
        self.place.end_large();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_workers_serve_large_requests_while_there_are_others() {
        let ms = Duration::from_millis;
        let turn = Turn { serving: 1, workers: 2, quiet: ms(1), waited: ms(1) };
        for (turn, come) in [
            (turn, false),
            (Turn { serving: 0, ..turn }, true),
            (Turn { workers: 3, ..turn }, false),
            (Turn { workers: 4, ..turn }, true),
            (Turn { serving: 0, workers: 1, ..turn }, true),
            (Turn { quiet: QUIET, ..turn }, true),
            (Turn { waited: LONGEST_WAIT, ..turn }, true),
        ] {
            assert_eq!(turn.has_come(), come, "{turn:?}");
        }
    }
}
