//! How many handshakes a server has done, and what they cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of one server, over all of its listeners.
#[derive(Debug, Default)]
pub struct Handshakes {
    finished: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Handshakes {
    /// Those that clients came through, the resumed ones included.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Those that went on from an earlier session, which are cheap.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Those in which a client and the server did not come to terms.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The time that all of them have taken here, without that of waiting for clients.
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    pub(super) fn finish(&self, resumed: bool) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.resumed.fetch_add(u64::from(resumed), Ordering::Relaxed);
    }

    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn spend(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}
