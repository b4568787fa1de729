//! How many requests with a large body are served at a time. Decisions only.
//!
//! What an application does with an upload is mostly arithmetic: it takes multipart apart, makes a checksum. Several at
//! once are done no sooner than one after the other, because one thread at a time runs Ruby, and meanwhile every other
//! request waits behind all of them for each of its turns. So one large request is served at a time, and another beside
//! it when the process turns out to wait for something else than its processor. The last thread is given to one only
//! when those before it have waited for long: it may be that one that they wait for.
//!
//! In a cluster no more than half of the workers serve large requests at a time, so that every other request has a
//! worker without any to go to ([`Turn`](crate::cluster::balance::Turn)).

use std::time::Duration;

/// A body of this many octets makes a request large.
pub const LARGE: u64 = 1 << 20;

/// So long a large request has the process to itself at most, whatever it does.
const LONG: Duration = Duration::from_secs(1);

/// So long a thread is kept for other requests, whatever is computed.
const LONGEST_RESERVE: Duration = Duration::from_secs(10);

/// What the monitor sees while large requests are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LargeLoad {
    /// How many may be served at a time now.
    pub allowed: usize,
    /// Threads that may exist.
    pub max_threads: usize,
    /// Time since the last look.
    pub wall: Duration,
    /// Processor time that the process used in it.
    pub cpu: Duration,
    /// Time since one was last begun.
    pub stalled: Duration,
}

impl LargeLoad {
    /// How many may be served at a time from now on.
    pub fn allowed(self) -> usize {
        let waits = self.cpu * 5 < self.wall;
        let depends = (waits && self.stalled >= LONG) || self.stalled >= LONGEST_RESERVE;
        let most = self.max_threads.saturating_sub(usize::from(!depends)).max(1);
        let computes = self.cpu * 5 > self.wall * 4;
        match self.allowed {
            allowed if waits || self.stalled >= LONG => (allowed + 1).min(most),
            allowed if computes => (allowed - 1).max(1),
            allowed => allowed.min(most),
        }
    }

    /// What is being served waits for something else than its processor, for long: it need not keep other workers from
    /// serving large requests.
    pub fn gives_up_turn(self) -> bool {
        self.cpu * 5 < self.wall && self.stalled >= LONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_are_served_at_a_time_while_the_processor_is_idle() {
        let ms = Duration::from_millis;
        let load = LargeLoad { allowed: 2, max_threads: 5, wall: ms(30), cpu: ms(20), stalled: ms(30) };
        for (load, allowed) in [
            (load, 2),
            (LargeLoad { cpu: ms(3), ..load }, 3),
            (LargeLoad { cpu: ms(29), ..load }, 1),
            (LargeLoad { cpu: ms(29), allowed: 1, ..load }, 1),
            (LargeLoad { cpu: ms(29), stalled: LONG, ..load }, 3),
            (LargeLoad { cpu: ms(3), allowed: 4, ..load }, 4),
            (LargeLoad { cpu: ms(3), allowed: 1, max_threads: 1, ..load }, 1),
            (LargeLoad { cpu: ms(3), allowed: 1, max_threads: 2, ..load }, 1),
            (LargeLoad { cpu: ms(3), allowed: 1, max_threads: 2, stalled: LONG, ..load }, 2),
            (LargeLoad { cpu: ms(20), allowed: 1, max_threads: 2, stalled: LONG, ..load }, 1),
            (LargeLoad { cpu: ms(29), allowed: 1, max_threads: 2, stalled: LONGEST_RESERVE, ..load }, 2),
            (LargeLoad { cpu: ms(3), allowed: 2, max_threads: 2, ..load }, 1),
            (LargeLoad { cpu: ms(3), allowed: 1, max_threads: 1, stalled: LONG, ..load }, 1),
        ] {
            assert_eq!(load.allowed(), allowed, "{load:?}");
        }
    }

    #[test]
    fn what_waits_for_long_gives_up_its_turn() {
        let ms = Duration::from_millis;
        let load = LargeLoad { allowed: 1, max_threads: 5, wall: ms(25), cpu: ms(4), stalled: LONG };
        assert!(load.gives_up_turn());
        assert!(!LargeLoad { cpu: ms(6), ..load }.gives_up_turn(), "it computes");
        assert!(!LargeLoad { stalled: ms(999), ..load }.gives_up_turn(), "not yet for long");
    }
}
