//! How long to wait before a worker that cannot boot is tried again.
//!
//! Puma forks it again at once, for ever; an app that raises at load then costs
//! a whole core and fills the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Index;

/// Ceiling of the waiting time.
const LONGEST: Duration = Duration::from_secs(30);

/// The indexes whose last workers died before they had booted.
#[derive(Debug, Default)]
pub(super) struct BootBackoff {
    failing: BTreeMap<Index, Failing>,
}

#[derive(Debug)]
struct Failing {
    in_a_row: u32,
    retry_at: Instant,
}

impl BootBackoff {
    /// Notes that the worker at `index` died too early; returns the time to wait.
    pub(super) fn failed(&mut self, index: Index, now: Instant) -> Duration {
        let failing = self.failing.entry(index).or_insert(Failing { in_a_row: 0, retry_at: now });
        failing.in_a_row += 1;
        let delay = delay(failing.in_a_row);
        failing.retry_at = now + delay;
        delay
    }

    /// The worker at `index` has booted.
    pub(super) fn booted(&mut self, index: Index) {
        self.failing.remove(&index);
    }

    /// The operator did something that may have cured it: try again at once.
    pub(super) fn forget(&mut self) {
        self.failing.clear();
    }

    /// Whether a worker may be forked at `index` now.
    pub(super) fn allows(&self, index: Index, now: Instant) -> bool {
        self.failing.get(&index).is_none_or(|failing| failing.retry_at <= now)
    }

    /// When the next index that must wait may be tried.
    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        self.failing.values().map(|failing| failing.retry_at).filter(|at| *at > now).min()
    }
}

/// 0, 1, 2, 4, 8, 16, 30, 30 … seconds: one crash may be an accident.
fn delay(in_a_row: u32) -> Duration {
    match in_a_row {
        0 | 1 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 2).min(5)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_up_to_thirty_seconds() {
        let delays: Vec<u64> = (1..=9).map(|n| delay(n).as_secs()).collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn each_index_waits_for_itself() {
        let now = Instant::now();
        let mut backoff = BootBackoff::default();
        backoff.failed(Index(1), now);
        backoff.failed(Index(1), now);
        assert!(!backoff.allows(Index(1), now));
        assert!(backoff.allows(Index(0), now));
        assert_eq!(backoff.next_retry(now), Some(now + Duration::from_secs(1)));
        backoff.booted(Index(1));
        assert!(backoff.allows(Index(1), now));
    }
}
