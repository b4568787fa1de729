//! A worker's side of whose turn it is to serve large requests.

use std::time::{Duration, Instant};

use super::Place;
use crate::pool::large::Turn;

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
