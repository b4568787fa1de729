//! How long to wait before a worker that cannot boot, or dies as soon as it has, is tried again.
//!
//! Puma forks it again at once, for ever; an app that raises at load then costs
//! a whole core and fills the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cluster::Index;

/// Ceiling of the waiting time.
const LONGEST: Duration = Duration::from_secs(30);

/// A worker that dies so soon after it has booted has not shown that it can serve.
const PROBATION: Duration = Duration::from_secs(5);

/// The indexes whose last workers died too early.
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

    /// The worker at `index` died by itself, `age` after it had booted: the time to wait, if that was too early.
    pub(super) fn died(&mut self, index: Index, age: Duration, now: Instant) -> Option<Duration> {
        if age < PROBATION {
            return Some(self.failed(index, now));
        }
        self.failing.remove(&index);
        None
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
        assert_eq!(backoff.died(Index(1), PROBATION, now), None);
        assert!(backoff.allows(Index(1), now));
    }

    #[test]
    fn who_dies_as_soon_as_it_has_booted_has_failed() {
        let now = Instant::now();
        let mut backoff = BootBackoff::default();
        let soon = Duration::from_millis(1);
        assert_eq!(backoff.died(Index(0), soon, now), Some(Duration::ZERO), "an accident");
        assert_eq!(backoff.died(Index(0), soon, now), Some(Duration::from_secs(1)));
        assert_eq!(backoff.died(Index(0), PROBATION, now), None);
        assert_eq!(backoff.failed(Index(0), now), Duration::ZERO);
    }
}
