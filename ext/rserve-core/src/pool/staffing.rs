//! How many Ruby threads there should be, and when one more should be woken. Decisions only.
//!
//! Waking a thread is the most expensive thing that a server does: two context switches and a fight for the GVL. So a
//! request that becomes ready wakes nobody: the thread that found it serves it. Only when a whole tick of the monitor
//! passes and nobody has polled, or a request still waits, another thread is called.
//!
//! Where Ruby tells when a thread lets go of the GVL in the middle of a request and when it wants it back (3.3 and
//! later), requests are begun by one thread as long as it can go on: a second one would only take turns with it, at
//! the price of two context switches for every file that either looks at. Another thread is called when all that serve
//! are away, at once if absences usually are worth it ([`is_worth_it`]), else when the monitor sees it;
//! when one computes for longer than [`COMPETE_AFTER`]; and when several do, for longer than [`TURN_OF_EACH`] for each.

use std::time::Duration;

use crate::tuning::{
    AVERAGED, BRISK, COMPETE_AFTER, LONGEST_TICK, PROBE_EVERY, RELIEF, TICK, TURN_OF_EACH, WORTH,
};

/// What the monitor sees at a tick.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolLoad {
    /// Somebody polled since the last tick.
    pub polled: bool,
    /// Complete requests that wait for a thread.
    pub ready: usize,
    /// A request has been waiting since before the last tick.
    pub stale: bool,
    /// Threads tell when they let go of the GVL in a request.
    pub told: bool,
    /// Threads that serve and have the GVL, or want it; only where it is told.
    pub computing: usize,
    /// Threads that were called to compete with them, and want the GVL, too.
    pub called: usize,
    /// Time since a request was last begun.
    pub stalled: Duration,
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
    /// They are to serve even though another thread computes.
    pub compete: bool,
    /// Whether to make a new thread.
    pub spawn: bool,
}

impl PoolLoad {
    /// Decides which threads are called.
    pub fn call(self) -> Call {
        let compete = self.told && self.computing > 0;
        let wanted = match (self.told, self.polled, self.stale) {
            _ if compete => {
                usize::from(self.ready > 0 && self.stalled >= patience(self.computing + self.called))
            }
            (true, polled, _) => usize::from(!polled || self.ready > 0),
            // Requests wait and nobody came for them: one thread each.
            (false, false, _) if self.ready > 0 => self.ready,
            // Nobody polls: one thread, to take that over from the monitor.
            (false, false, _) => 1,
            (false, true, stale) => usize::from(stale),
        };
        let spawn = wanted > self.parked && self.ready > 0 && self.spawned < self.max_threads;
        Call { wake: wanted.min(self.parked), compete, spawn }
    }
}

/// How long requests wait for so many threads that want the GVL before one more is to compete with them.
fn patience(contending: usize) -> Duration {
    match u32::try_from(contending) {
        Ok(0 | 1) => COMPETE_AFTER,
        several => TURN_OF_EACH * several.unwrap_or(u32::MAX),
    }
}

/// Whether one idle thread may go (Puma's trimmer).
pub fn may_trim(spawned: usize, idle: usize, ready: usize, min_threads: usize) -> bool {
    spawned > min_threads && idle > 0 && ready == 0
}

/// Whether an absence takes longer than to call another thread.
pub fn is_long(absence: u64) -> bool {
    absence > RELIEF
}

/// Whether another thread is called each time that one is away: usually for so long, having computed for so long since it
/// last was. One that writes a line to a log after five milliseconds would lose the GVL for the time of a whole page, and
/// the lock of the log is kept meanwhile from all others: they are away, too, and even more would be called.
pub fn is_worth_it(usual_absence: u64, usual_stretch: u64) -> bool {
    is_long(usual_absence) && usual_absence * WORTH > usual_stretch
}

/// How often that is done when an absence took so long by itself: less and less, as long as none turns out to be short.
pub fn probe_every(before: u64, absence: u64) -> u64 {
    if is_long(absence) { (before * 2).min(PROBE_EVERY * 64) } else { PROBE_EVERY }
}

/// The average over the last sixty or so.
pub fn usual(before: u64, latest: u64) -> u64 {
    before - before / AVERAGED + latest / AVERAGED
}

/// Whether the monitor has nothing to do that is urgent: somebody polls, or all threads are `occupied`, so that none of what it
/// may find can be begun before one of them is done, or, where one computes, before [`COMPETE_AFTER`] is over.
pub fn is_calm(on_call: bool, led_or_polled: bool, occupied: bool) -> bool {
    !on_call && (led_or_polled || occupied)
}

/// Whether threads that were given so many requests in this time are hardly ever away: another such request is over before
/// a look would have found it.
pub fn is_brisk(begun: u64, time: Duration) -> bool {
    u128::from(begun) * 1000 > u128::from(BRISK) * time.as_micros()
}

/// Whether a process that used so much processor time in this time seems to have a thread that computes.
pub fn has_computed(spent: Duration, time: Duration) -> bool {
    spent * 2 > time
}

/// How long the monitor rests after a look, given how long it rested before. `calm` as [`is_calm`] has it. Threads that were
/// just seen polling may all be away now, unless that is `known`, or they are `brisk`, as [`is_brisk`] has it.
pub fn rest(before: Duration, known: bool, calm: bool, brisk: bool) -> Duration {
    match (known || brisk) && calm {
        true => (before * 2).min(LONGEST_TICK),
        false => TICK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::LONGEST_ABSENCE;

    #[test]
    fn threads_are_called_only_when_requests_or_polling_are_left_undone() {
        let quiet = PoolLoad { polled: true, parked: 3, spawned: 4, max_threads: 5, ..PoolLoad::default() };
        for (load, wake, spawn) in [
            (quiet, 0, false),
            (PoolLoad { ready: 9, ..quiet }, 0, false),
            (PoolLoad { ready: 2, stale: true, ..quiet }, 1, false),
            (PoolLoad { polled: false, ..quiet }, 1, false),
            (PoolLoad { polled: false, ready: 2, ..quiet }, 2, false),
            (PoolLoad { polled: false, ready: 9, ..quiet }, 3, true),
            (PoolLoad { polled: false, ready: 9, spawned: 5, ..quiet }, 3, false),
            (PoolLoad { polled: false, ready: 1, parked: 0, ..quiet }, 0, true),
            (PoolLoad { polled: false, parked: 0, ..quiet }, 0, false),
            (PoolLoad { ready: 1, stale: true, parked: 0, spawned: 5, ..quiet }, 0, false),
        ] {
            assert_eq!(load.call(), Call { wake, spawn, compete: false }, "{load:?}");
        }
    }

    #[test]
    fn a_thread_that_computes_is_given_time_where_one_that_waits_would_tell() {
        let computing = PoolLoad {
            told: true,
            computing: 1,
            ready: 9,
            parked: 4,
            spawned: 5,
            max_threads: 5,
            ..PoolLoad::default()
        };
        let long = COMPETE_AFTER;
        let several = PoolLoad { computing: 3, stalled: long, ..computing };
        for (load, wake, spawn) in [
            (computing, 0, false),
            (PoolLoad { polled: true, stale: true, ..computing }, 0, false),
            (PoolLoad { stalled: long, ..computing }, 1, false),
            (PoolLoad { polled: true, stalled: long, ..computing }, 1, false),
            (PoolLoad { stalled: long, ready: 0, ..computing }, 0, false),
            (PoolLoad { parked: 0, spawned: 1, ..computing }, 0, false),
            (PoolLoad { parked: 0, spawned: 1, stalled: long, ..computing }, 0, true),
            (PoolLoad { stalled: long, called: 1, ..computing }, 0, false),
            (PoolLoad { stalled: TURN_OF_EACH * 2, called: 1, ..computing }, 1, false),
            (several, 0, false),
            (PoolLoad { stalled: TURN_OF_EACH * 2, ..several }, 0, false),
            (PoolLoad { stalled: TURN_OF_EACH * 3, ..several }, 1, false),
        ] {
            assert_eq!(load.call(), Call { wake, spawn, compete: true }, "{load:?}");
        }
        let away = PoolLoad { computing: 0, ..computing };
        for (load, wake, spawn) in [
            (away, 1, false),
            (PoolLoad { polled: true, ..away }, 1, false),
            (PoolLoad { ready: 0, ..away }, 1, false),
            (PoolLoad { polled: true, ready: 0, ..away }, 0, false),
            (PoolLoad { parked: 0, spawned: 1, ..away }, 0, true),
        ] {
            assert_eq!(load.call(), Call { wake, spawn, compete: false }, "{load:?}");
        }
    }

    #[test]
    fn the_monitor_rests_for_longer_while_it_has_nothing_to_do() {
        let mut before = TICK;
        let rests: Vec<_> = std::iter::from_fn(|| {
            Some({
                before = rest(before, true, true, false);
                before.as_millis()
            })
        })
        .take(5)
        .collect();
        assert_eq!(rests, [2, 4, 4, 4, 4]);
        assert_eq!(rest(LONGEST_TICK, true, false, true), TICK);
        assert_eq!(rest(LONGEST_TICK, false, true, false), TICK);
        assert_eq!(rest(LONGEST_TICK, false, true, true), LONGEST_TICK);
    }

    #[test]
    fn who_uses_most_of_a_processor_computes() {
        for (spent, time, computes) in
            [(0, 0, false), (10, 1000, false), (500, 1000, false), (800, 1000, true), (3000, 1000, true)]
        {
            let [spent, time] = [spent, time].map(Duration::from_micros);
            assert_eq!(has_computed(spent, time), computes, "{spent:?} in {time:?}");
        }
    }

    #[test]
    fn requests_are_brisk_that_are_too_short_for_a_look() {
        for (begun, micros, brisk) in
            [(0, 0, false), (4, 1000, false), (5, 1000, true), (20, 5000, false), (21, 5000, true)]
        {
            assert_eq!(is_brisk(begun, Duration::from_micros(micros)), brisk, "{begun} in {micros}");
        }
    }

    #[test]
    fn the_monitor_has_nothing_urgent_while_somebody_polls_or_all_are_occupied() {
        for (on_call, polled, occupied, calm) in [
            (false, false, false, false),
            (false, true, false, true),
            (false, false, true, true),
            (true, true, true, false),
        ] {
            assert_eq!(is_calm(on_call, polled, occupied), calm, "{on_call} {polled} {occupied}");
        }
    }

    #[test]
    fn files_are_no_long_absences_and_queries_are() {
        let (file, query) = (3_000, LONGEST_ABSENCE);
        let again = |before, absence, times| (0..times).fold(before, |before, _| usual(before, absence));
        let files = again(0, file, 1000);
        assert!(!is_long(files));
        assert!(!is_long(again(files, query, 1)), "once");
        let sleeping = again(files, query, 6);
        assert!(is_long(sleeping));
        assert!(!is_long(again(sleeping, file, 100)), "no more");
        let mixed = (0..100).fold(0, |usual, _| again(again(usual, query, 1), file, 9));
        assert!(is_long(mixed));
        let every = (0..20).fold(PROBE_EVERY, |every, _| probe_every(every, query));
        assert_eq!(every, PROBE_EVERY * 64);
        assert_eq!(probe_every(every, file), PROBE_EVERY);
    }

    #[test]
    fn absences_that_are_few_beside_what_is_computed_call_nobody() {
        for (absence, stretch, worth) in [
            (20_000, 100_000, true),
            (20_000, 5_000_000, false),
            (LONGEST_ABSENCE, 1_400_000, true),
            (LONGEST_ABSENCE, 7_000_000, false),
            (3_000, 3_000, false),
        ] {
            assert_eq!(is_worth_it(absence, stretch), worth, "{absence} after {stretch}");
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
