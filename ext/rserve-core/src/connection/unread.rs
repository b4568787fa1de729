//! What all clients of a server together leave unread of their responses: how much that may be, and which are cut off when
//! it is more, or when other requests need the threads that wait for readers. Decisions, but for the sum.
//!
//! A response that is not read costs memory and, beyond that, a file; a stream far ahead of its reader costs a thread.
//! Puma has as many slow readers as threads, and then nothing for anybody else. Here there may be many more, so there
//! has to be an end to it, and it comes first for those who read least.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A client has so long to read, and a second more for each [`RATE`] octets that it has taken: as for a body, which may
/// come as slowly.
const GRACE: Duration = Duration::from_secs(60);
const RATE: u64 = 500;

/// A reader that has taken nothing for so long is cut off when all threads wait for readers and a request for a thread.
const STILL: Duration = Duration::from_secs(1);

/// What each is taken to have read, in a second, before it fell behind: a connection of a moment ago has had no time
/// to show how fast it is.
const HEAD_START: u64 = 64 * 1024;

/// So much more a stream may be ahead of its reader than others when its thread is wanted.
pub(crate) const ADVANCE: u64 = 1 << 20;

/// The sum.
#[derive(Debug)]
pub(crate) struct Unread {
    held: AtomicU64,
    limit: u64,
}

impl Unread {
    pub(crate) fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), limit }
    }

    /// One response holds `after` octets, and held `before`.
    pub(crate) fn change(&self, before: u64, after: u64) {
        match after >= before {
            true => self.held.fetch_add(after - before, Ordering::AcqRel),
            false => self.held.fetch_sub(before - after, Ordering::AcqRel),
        };
    }

    /// How much more there is than may be.
    pub(crate) fn excess(&self) -> u64 {
        self.held.load(Ordering::Acquire).saturating_sub(self.limit)
    }

    /// Whether a stream may go further ahead of its reader.
    pub(crate) fn has_room(&self) -> bool {
        self.held.load(Ordering::Acquire) + ADVANCE <= self.limit
    }
}

/// Without a limit.
impl Default for Unread {
    fn default() -> Self {
        Self::new(u64::MAX - ADVANCE)
    }
}

/// A client has not read all that was sent to it, since some moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lag {
    pub(crate) since: Instant,
    /// Octets that the socket has taken since.
    pub(crate) taken: u64,
    /// When it last took some.
    pub(crate) taken_at: Instant,
}

impl Lag {
    pub(crate) fn begin(now: Instant) -> Self {
        Self { since: now, taken: 0, taken_at: now }
    }

    pub(crate) fn took(&mut self, octets: u64, now: Instant) {
        self.taken += octets;
        self.taken_at = now;
    }

    /// When the client is given up: it takes nothing for `pause`, or too little in all.
    pub(crate) fn due(self, pause: Duration) -> Instant {
        (self.taken_at + pause).min(self.since + GRACE + Duration::from_secs(self.taken / RATE))
    }
}

/// A client that is behind: what decides whether it is cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reader {
    /// Octets of memory and files that it costs.
    pub(crate) held: u64,
    /// Octets that it reads in a second.
    pace: u64,
    /// Since when it has taken nothing.
    still: Duration,
}

impl Reader {
    pub(crate) fn new(held: u64, lag: Lag, now: Instant) -> Self {
        let lagging = now.saturating_duration_since(lag.since) + Duration::from_secs(1);
        let pace = u128::from(HEAD_START + lag.taken) * 1000 / lagging.as_millis();
        let still = now.saturating_duration_since(lag.taken_at);
        Self { held, pace: u64::try_from(pace).unwrap_or(u64::MAX), still }
    }
}

/// Which of `readers` are cut off when all of them together leave `excess` octets too many unread: the slowest. The
/// fastest `spared` are not, however large their responses; Puma would have had a thread for each.
pub(crate) fn cut_off(readers: &[Reader], excess: u64, spared: usize) -> Vec<usize> {
    let mut slowest: Vec<usize> = (0..readers.len()).collect();
    slowest.sort_by_key(|&at| (readers[at].pace, Reverse(readers[at].held)));
    slowest.truncate(readers.len().saturating_sub(spared));
    let mut left = excess;
    slowest.retain(|&at| {
        let cut = left > 0;
        left = left.saturating_sub(readers[at].held);
        cut
    });
    slowest
}

/// What is done for a request that waits while every thread waits for a reader or serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Relief {
    /// This one is cut off.
    Cut(usize),
    /// This one's stream goes on into its file, and comes to its end the sooner.
    GoOn(usize),
}

/// Decides which of `waiting`, readers for which a thread waits, makes place. `room`: more may be held.
pub(crate) fn relieve(waiting: &[Reader], room: bool) -> Option<Relief> {
    let slowest = (0..waiting.len()).min_by_key(|&at| (waiting[at].pace, Reverse(waiting[at].held)))?;
    let fastest = (0..waiting.len()).max_by_key(|&at| waiting[at].pace)?;
    Some(match waiting[slowest].still >= STILL || !room {
        true => Relief::Cut(slowest),
        false => Relief::GoOn(fastest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One that has been behind for `seconds`, has taken so many octets in that time, the last of them just now.
    fn reader(held: u64, seconds: u32, taken: u64) -> Reader {
        let since = Instant::now();
        let now = since + SECOND * seconds;
        Reader::new(held, Lag { since, taken, taken_at: now }, now)
    }

    #[test]
    fn the_slowest_are_cut_off_first_and_the_fastest_never() {
        let (stalled, slow, fast) = (reader(10, 9, 0), reader(10, 9, 90_000), reader(10, 9, 9_000_000));
        let fresh = reader(10, 0, 0);
        for (readers, excess, spared, cut) in [
            (&[fast, slow, stalled, fresh][..], 1, 0, &[2][..]),
            (&[fast, slow, stalled, fresh], 10, 0, &[2]),
            (&[fast, slow, stalled, fresh], 11, 0, &[2, 1]),
            (&[fast, slow, stalled, fresh], 1000, 1, &[2, 1, 3]),
            (&[fast, slow, stalled, fresh], 1000, 4, &[]),
            (&[stalled], 1000, 5, &[]),
            (&[stalled, reader(11, 9, 0)], 1, 0, &[1]),
            (&[], 1, 0, &[]),
        ] {
            assert_eq!(cut_off(readers, excess, spared), cut, "{readers:?} {excess} {spared}");
        }
    }

    #[test]
    fn a_wanted_thread_goes_on_or_loses_its_reader() {
        let still = Reader { still: STILL, ..reader(10, 9, 0) };
        let (slow, fast) = (reader(10, 9, 90_000), reader(10, 9, 9_000_000));
        for (waiting, room, relief) in [
            (&[slow, fast][..], true, Some(Relief::GoOn(1))),
            (&[slow, fast], false, Some(Relief::Cut(0))),
            (&[slow, still, fast], true, Some(Relief::Cut(1))),
            (&[], true, None),
        ] {
            assert_eq!(relieve(waiting, room), relief, "{waiting:?} {room}");
        }
    }

    #[test]
    fn a_deadline_counts_what_was_taken() {
        let now = Instant::now();
        let mut lag = Lag::begin(now);
        assert_eq!(lag.due(10 * SECOND), now + 10 * SECOND);
        for seconds in 1..=10 {
            lag.took(1, now + SECOND * 9 * seconds);
        }
        assert_eq!(lag.due(10 * SECOND), now + GRACE, "an octet now and then is not enough");
        lag.took(RATE * 100, now + SECOND * 59);
        assert_eq!(lag.due(10 * SECOND), now + SECOND * 69);
    }

    #[test]
    fn the_sum_has_a_limit() {
        let unread = Unread::new(4 * ADVANCE);
        unread.change(0, 3 * ADVANCE);
        assert!(unread.has_room());
        unread.change(3 * ADVANCE, 5 * ADVANCE);
        assert_eq!((unread.excess(), unread.has_room()), (ADVANCE, false));
        unread.change(5 * ADVANCE, 0);
        assert_eq!(unread.excess(), 0);
        assert!(Unread::default().has_room());
    }
}
