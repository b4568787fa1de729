//! Threads that let go of the GVL in the middle of a request, where Ruby tells.

use crate::sync::atomic::{AtomicU64, AtomicUsize};
use crate::tuning::PROBE_EVERY;

pub(crate) struct Absences {
    /// Of the busy threads those that have let go of the GVL and do not want it back yet, where that is told, and those
    /// that serve a large request.
    pub(crate) away: AtomicUsize,
    /// How long they were away lately, in nanoseconds ([`crate::pool::staffing::usual`]).
    pub(crate) usual: AtomicU64,
    /// How long one computed before all were away, the same way.
    pub(crate) usual_stretch: AtomicU64,
    /// Since when one or another computes, in nanoseconds of the server's time.
    pub(crate) computes_since: AtomicU64,
    /// How many absences there were.
    pub(crate) count: AtomicU64,
    /// See [`crate::pool::staffing::probe_every`].
    pub(crate) probe_every: AtomicU64,
}

impl Default for Absences {
    fn default() -> Self {
        Self {
            away: AtomicUsize::new(0),
            usual: AtomicU64::new(0),
            usual_stretch: AtomicU64::new(0),
            computes_since: AtomicU64::new(0),
            count: AtomicU64::new(0),
            probe_every: AtomicU64::new(PROBE_EVERY),
        }
    }
}
