//! How many Ruby threads there should be, and when one more should be woken. Decisions only.
//!
//! Waking a thread is the most expensive thing that a server does: two context switches and a fight for the GVL. So a
//! request that becomes ready wakes nobody: the thread that found it serves it. Only when a whole tick of the monitor
//! passes and nobody has polled, or a request still waits, another thread is called.

use std::time::Duration;

/// What the monitor sees at a tick.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Somebody polled since the last tick.
    pub polled: bool,
    /// Complete requests that wait for a thread.
    pub ready: usize,
    /// A request has been waiting since before the last tick.
    pub stale: bool,
    /// Threads that are parked.
    pub parked: usize,
    /// Threads that exist or are being made.
    pub spawned: usize,
    /// Threads that may exist.
    pub max_threads: usize,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Call {
    /// How many parked threads to wake.
    pub wake: usize,
    /// Whether to make a new thread.
    pub spawn: bool,
}

impl Load {
    /// Decides who is called.
    pub fn call(self) -> Call {
        let wanted = match (self.polled, self.stale) {
            // Requests wait and nobody came for them: one thread each.
            (false, _) if self.ready > 0 => self.ready,
            // Nobody polls: one thread, to take that over from the monitor.
            (false, _) => 1,
            (true, true) => 1,
            (true, false) => 0,
        };
        let wake = wanted.min(self.parked);
        let spawn = wanted > wake && self.ready > 0 && self.spawned < self.max_threads;
        Call { wake, spawn }
    }
}

/// Whether one idle thread may go (Puma's trimmer).
pub fn may_trim(spawned: usize, idle: usize, ready: usize, min_threads: usize) -> bool {
    spawned > min_threads && idle > 0 && ready == 0
}

/// Time between two looks of the monitor while requests are being served.
pub const TICK: Duration = Duration::from_millis(1);

/// Ticks without anything to do after which the monitor parks.
pub const IDLE_TICKS: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_called_only_when_requests_or_polling_are_left_undone() {
        let quiet = Load { polled: true, parked: 3, spawned: 4, max_threads: 5, ..Load::default() };
        for (load, wake, spawn) in [
            (quiet, 0, false),
            (Load { ready: 9, ..quiet }, 0, false),
            (Load { ready: 2, stale: true, ..quiet }, 1, false),
            (Load { polled: false, ..quiet }, 1, false),
            (Load { polled: false, ready: 2, ..quiet }, 2, false),
            (Load { polled: false, ready: 9, ..quiet }, 3, true),
            (Load { polled: false, ready: 9, spawned: 5, ..quiet }, 3, false),
            (Load { polled: false, ready: 1, parked: 0, ..quiet }, 0, true),
            (Load { polled: false, parked: 0, ..quiet }, 0, false),
            (Load { ready: 1, stale: true, parked: 0, spawned: 5, ..quiet }, 0, false),
        ] {
            assert_eq!(load.call(), Call { wake, spawn }, "{load:?}");
        }
    }

    #[test]
    fn only_an_idle_thread_above_the_minimum_is_trimmed() {
        assert!(may_trim(3, 1, 0, 2));
        assert!(!may_trim(2, 2, 0, 2));
        assert!(!may_trim(3, 0, 0, 2));
        assert!(!may_trim(3, 1, 1, 2));
    }
}
