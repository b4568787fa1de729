//! Full collections of garbage, out of the way of requests: whoever can make them asks here when.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Server;
use super::told::nanoseconds;
use crate::cluster::balance::{Need, Step};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::telemetry::Part;

/// What is known of the next one.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    /// Since when it is needed.
    since: std::sync::Mutex<Option<Instant>>,
    pending: AtomicBool,
}

impl Collecting {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Whether a collection was needed, by [`Server::weigh_collection`], and was not made yet.
    pub fn collection_pending(&self) -> bool {
        self.collecting.pending.load(Ordering::Relaxed)
    }

    /// Whether to make a full collection now, which Ruby has `asked` for or not; the heap has so many hundredths of what
    /// it had after the last one. If it is needed, and not to be made now, the other workers may have been told to take
    /// what comes.
    pub fn weigh_collection(&self, asked: bool, growth: u32, now: Instant) -> bool {
        if !Need::is_there(asked, growth) {
            if self.collection_pending() {
                self.collected(None);
            }
            return false;
        }
        let since = *self.collecting.since().get_or_insert(now);
        self.collecting.pending.store(true, Ordering::Relaxed);
        let waited = now.saturating_duration_since(since);
        let idle = self.work_in_hand() == 0;
        let need = Need { idle, collecting: 0, workers: 1, waited, growth };
        let Some(place) = self.shared.place.get() else { return need.step() == Step::Collect };
        let mut step = Step::Serve;
        if place.own().collects {
            // It has its turn, and keeps it.
            step = Need { workers: 2, ..need }.step();
        } else {
            place.begin_collecting(|collecting, workers| {
                step = Need { collecting, workers, ..need }.step();
                workers > 1 && step != Step::Serve
            });
        }
        step == Step::Collect
    }

    fn work_in_hand(&self) -> usize {
        self.shared.work() + self.shared.fiber_work()
    }

    /// Keeps requests from being started, if none is being served or waits; to be ended by [`Server::resume`].
    pub fn hold_idle(&self) -> bool {
        self.shared.threads.hold_idle(|| self.work_in_hand())
    }

    /// The collection is over, which took so long; `None` when it is needed no more.
    pub fn collected(&self, took: Option<Duration>) {
        *self.collecting.since() = None;
        self.collecting.pending.store(false, Ordering::Relaxed);
        if let Some(place) = self.shared.place.get() {
            place.end_collecting();
        }
        if let (Some(took), Some(telemetry)) = (took, self.shared.telemetry.get()) {
            telemetry.part(Part::Collection, nanoseconds(took));
        }
    }
}
