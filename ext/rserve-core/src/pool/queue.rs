//! Complete requests in their order, and which of them no thread begins: because too many wait, or one has waited for too
//! long. Decisions only: the clock is passed in, and a request is whatever stands for one. Large requests beyond those
//! that may be served at a time are kept until one of them is done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::large::LargeLoad;
use crate::cluster::balance::LargeTurns;
use crate::config::options::QueueLimits;
use crate::telemetry::Shed;

/// So long a request may wait that is one too many: a client has its answer, and may send its next request, before the
/// thread that gave it is done.
const SETTLE: Duration = Duration::from_millis(10);

/// A request that waits.
pub(crate) struct Entry<T> {
    pub(crate) request: T,
    /// When it was complete.
    pub(crate) since: Instant,
    pub(crate) large: bool,
    /// It waits for as long as it takes.
    pub(crate) exempt: bool,
}

/// See the module.
pub(crate) struct Queue<T> {
    ready: VecDeque<Entry<T>>,
    kept: VecDeque<Entry<T>>,
    /// Those that nobody has answered yet.
    turned_away: Vec<(T, Shed)>,
    time_limit: Option<Duration>,
    length_limit: Option<usize>,
    /// Requests that threads have begun and not ended; only with a limit.
    begun: usize,
    /// Large requests in `ready` or being served.
    large: usize,
    /// How many there may be.
    large_allowed: usize,
    large_begun_at: Instant,
    /// Among the workers of a cluster.
    turns: Option<LargeTurns>,
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: &QueueLimits) -> Self {
        Self {
            ready: VecDeque::new(),
            kept: VecDeque::new(),
            turned_away: Vec::new(),
            time_limit: limits.time,
            length_limit: limits.length,
            begun: 0,
            large: 0,
            large_allowed: 1,
            large_begun_at: Instant::now(),
            turns: None,
        }
    }

    /// Requests that a thread may take.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Large requests that no thread may take yet.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Large requests in whatever state.
    pub(crate) fn has_large(&self) -> bool {
        self.large + self.kept.len() > 0
    }

    /// When the oldest request that a thread may take was complete.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.ready.front().map(|entry| entry.since)
    }

    /// Large requests are served by turns with other workers, or no longer.
    pub(crate) fn set_turns(&mut self, turns: Option<LargeTurns>) {
        self.turns = turns;
    }

    /// Whether requests may be turned away, so that those that were begun are counted.
    pub(crate) fn is_limited(&self) -> bool {
        self.time_limit.is_some() || self.length_limit.is_some()
    }

    /// Adds a request that has just become complete.
    #[inline(always)] // for each request, of threads and of fibers
    pub(crate) fn push(&mut self, entry: Entry<T>, now: Instant) {
        if entry.large {
            self.kept.push_back(entry);
            self.admit(now);
        } else {
            self.ready.push_back(entry);
        }
    }

    /// Adds one that a thread has taken and not begun, behind the others.
    pub(crate) fn put_back(&mut self, entry: Entry<T>) {
        self.ready.push_back(entry);
    }

    /// The oldest request, for a thread to begin.
    #[inline(always)] // for each request, of threads and of fibers
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Entry<T>> {
        while let Some(entry) = self.ready.pop_front() {
            if self.is_overdue(&entry, now) {
                self.turn_away(entry, now);
                continue;
            }
            if self.is_limited() {
                self.begun += 1;
            }
            if entry.large {
                self.large_begun_at = now;
            }
            return Some(entry);
        }
        None
    }

    /// A thread is done with a request.
    pub(crate) fn ended(&mut self, large: bool, now: Instant) {
        self.begun = self.begun.saturating_sub(1);
        if large {
            self.one_large_less(now);
        }
    }

    /// Turns away what has waited for too long, and who came last of those that are too many for so many `threads` that
    /// there may be. To be called every few milliseconds while requests wait.
    pub(crate) fn expire(&mut self, threads: usize, now: Instant) {
        if self.time_limit.is_some() {
            self.expire_overdue(threads, now);
        }
        if let Some(limit) = self.length_limit {
            self.shorten(limit + self.free(threads), now);
        }
    }

    fn expire_overdue(&mut self, threads: usize, now: Instant) {
        let mut at = 0;
        while let Some(entry) = self.ready.get(at) {
            if entry.exempt {
                at += 1;
            } else if !self.is_overdue(entry, now) {
                break;
            } else if let Some(entry) = self.ready.remove(at) {
                self.turn_away(entry, now);
            }
        }
        at = 0;
        while let Some(entry) = self.kept.get(at) {
            if entry.exempt || !self.is_overdue(entry, now) {
                at += 1;
            } else if let Some(entry) = self.kept.remove(at) {
                // It is no thread that it has waited for, if there is one: so from now on it does.
                match self.free(threads) > self.ready.len() {
                    true => {
                        self.large += 1;
                        self.ready.push_back(Entry { since: now, ..entry });
                    }
                    false => self.turned_away.push((entry.request, Shed::QueueTime)),
                }
            }
        }
    }

    /// Leaves `most` requests, beside those that are exempt.
    fn shorten(&mut self, most: usize, now: Instant) {
        if self.ready.len() + self.kept.len() <= most {
            return;
        }
        let counts = |entry: &Entry<T>| !entry.exempt && now.saturating_duration_since(entry.since) >= SETTLE;
        let count = |queue: &VecDeque<Entry<T>>| queue.iter().filter(|entry| counts(entry)).count();
        let last = |queue: &VecDeque<Entry<T>>| {
            let at = queue.iter().rposition(counts)?;
            Some((queue[at].since, at))
        };
        for _ in most..count(&self.ready) + count(&self.kept) {
            let (ready, kept) = (last(&self.ready), last(&self.kept));
            let entry = match (ready, kept) {
                (Some((_, at)), _) if ready >= kept => self.ready.remove(at),
                (_, Some((_, at))) => self.kept.remove(at),
                _ => None,
            };
            let Some(entry) = entry else { return };
            if entry.large && ready >= kept {
                self.one_large_less(now);
            }
            self.turned_away.push((entry.request, Shed::QueueFull));
        }
    }

    /// Whether somebody has to answer requests that were turned away.
    pub(crate) fn has_turned_away(&self) -> bool {
        !self.turned_away.is_empty()
    }

    /// Those that were turned away since this was last called.
    pub(crate) fn take_turned_away(&mut self) -> Vec<(T, Shed)> {
        std::mem::take(&mut self.turned_away)
    }

    /// Lets as many large requests be served beside each other as `load` says, given how many it was and when one was
    /// last begun.
    pub(crate) fn weigh(&mut self, load: impl FnOnce(usize, Instant) -> LargeLoad) {
        if self.large == 0 {
            return;
        }
        let load = load(self.large_allowed, self.large_begun_at);
        if !self.kept.is_empty() {
            self.large_allowed = load.allowed();
        }
        if let Some(turns) = &self.turns
            && load.gives_up_turn()
        {
            turns.end();
        }
    }

    /// Makes large requests ready, as many as may be served; the first one when it is this worker's turn.
    pub(crate) fn admit(&mut self, now: Instant) {
        while self.large < self.large_allowed
            && let Some(oldest) = self.kept.front()
        {
            if self.large == 0
                && let Some(turns) = &mut self.turns
                && !turns.begin(oldest.since, now)
            {
                break;
            }
            self.large += 1;
            self.ready.extend(self.kept.pop_front());
        }
    }

    fn is_overdue(&self, entry: &Entry<T>, now: Instant) -> bool {
        let waited = now.saturating_duration_since(entry.since);
        !entry.exempt && self.time_limit.is_some_and(|limit| waited > limit)
    }

    fn turn_away(&mut self, entry: Entry<T>, now: Instant) {
        self.turned_away.push((entry.request, Shed::QueueTime));
        if entry.large {
            self.one_large_less(now);
        }
    }

    fn one_large_less(&mut self, now: Instant) {
        self.large -= 1;
        if self.large == 0 {
            self.large_allowed = 1;
            if let Some(turns) = &self.turns {
                turns.end();
            }
        }
        self.admit(now);
    }

    /// Threads that have no request, whether they exist or not.
    fn free(&self, threads: usize) -> usize {
        threads.saturating_sub(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::Paths;

    const MS: Duration = Duration::from_millis(1);
    const THREADS: u32 = 5;
    /// What a request takes, and how many there are then at full load in a second.
    const SERVICE: u32 = 10;
    const CAPACITY: u32 = THREADS * 1000 / SERVICE;

    fn limits(time: Option<u64>, length: Option<usize>) -> QueueLimits {
        QueueLimits { time: time.map(Duration::from_millis), length, exempt: Paths::default() }
    }

    fn entry(name: &'static str, since: Instant) -> Entry<&'static str> {
        Entry { request: name, since, large: false, exempt: false }
    }

    #[derive(Default)]
    struct Seen {
        served: u32,
        turned_away: u32,
        longest_wait: Duration,
        longest_queue: usize,
        left: usize,
    }

    /// Ten seconds of a server that is asked twice as much as it can do.
    fn overload(limits: &QueueLimits) -> Seen {
        let start = Instant::now();
        let mut queue = Queue::new(limits);
        let mut seen = Seen::default();
        let mut busy_until = Vec::new();
        for millis in 0..10_000 {
            let now = start + millis * MS;
            for _ in 0..2 * CAPACITY / 1000 {
                let entry = Entry { request: now, since: now, large: false, exempt: false };
                queue.push(entry, now);
            }
            busy_until.retain(|until| {
                let goes_on = *until > millis;
                if !goes_on {
                    queue.ended(false, now);
                }
                goes_on
            });
            while busy_until.len() < THREADS as usize
                && let Some(entry) = queue.pop(now)
            {
                busy_until.push(millis + SERVICE);
                seen.served += 1;
                seen.longest_wait = seen.longest_wait.max(now - entry.since);
            }
            if millis % 4 == 0 {
                queue.expire(THREADS as usize, now);
            }
            seen.turned_away += queue.take_turned_away().len() as u32;
            seen.longest_queue = seen.longest_queue.max(queue.ready());
        }
        seen.left = queue.ready();
        assert_eq!(seen.served + seen.turned_away + seen.left as u32, 10 * 2 * CAPACITY, "none is lost");
        seen
    }

    #[test]
    fn at_twice_the_capacity_a_limit_keeps_the_wait_short_and_the_threads_busy() {
        let without = overload(&limits(None, None));
        assert_eq!((without.turned_away, without.served), (0, 10 * CAPACITY));
        assert_eq!(without.left as u32, 10 * CAPACITY, "and it grows");
        for (limits, wait, queue) in [
            (limits(Some(1000), None), 1000, 2 * CAPACITY),
            (limits(None, Some(100)), 100 * SERVICE / THREADS, 100),
            (limits(Some(1000), Some(100)), 100 * SERVICE / THREADS, 100),
            (limits(None, Some(0)), 0, 0),
        ] {
            let seen = overload(&limits);
            assert_eq!(seen.served, 10 * CAPACITY, "{limits:?}");
            // It is looked every four.
            assert!(seen.longest_wait <= (wait + SERVICE + 4) * MS, "{limits:?}: {:?}", seen.longest_wait);
            assert!(seen.longest_queue as u32 <= queue + SERVICE + 4, "{limits:?}: {}", seen.longest_queue);
        }
    }

    #[test]
    fn who_has_waited_for_too_long_is_turned_away_whether_a_thread_comes_or_not() {
        let now = Instant::now();
        let mut queue = Queue::new(&limits(Some(1000), None));
        for (name, at) in [("a", 0), ("b", 500), ("c", 1500)] {
            queue.push(entry(name, now + at * MS), now + at * MS);
        }
        queue.expire(1, now + 1000 * MS);
        assert!(!queue.has_turned_away(), "not yet");
        queue.expire(1, now + 1001 * MS);
        assert_eq!(queue.take_turned_away(), [("a", Shed::QueueTime)]);
        assert_eq!(queue.pop(now + 1501 * MS).map(|entry| entry.request), Some("c"));
        assert_eq!(queue.take_turned_away(), [("b", Shed::QueueTime)]);
    }

    #[test]
    fn who_is_exempt_waits_for_as_long_as_it_takes() {
        let now = Instant::now();
        let mut queue = Queue::new(&limits(Some(1000), Some(1)));
        queue.push(entry("served", now), now);
        assert!(queue.pop(now).is_some());
        for (name, exempt) in [("up", true), ("a", false), ("b", false), ("up again", true)] {
            queue.push(Entry { exempt, ..entry(name, now) }, now);
        }
        queue.expire(1, now + SETTLE);
        assert_eq!(queue.take_turned_away(), [("b", Shed::QueueFull)]);
        queue.expire(1, now + 60_000 * MS);
        assert_eq!(queue.take_turned_away(), [("a", Shed::QueueTime)]);
        assert_eq!(queue.pop(now + 60_000 * MS).map(|entry| entry.request), Some("up"));
    }

    #[test]
    fn only_those_wait_for_whom_there_is_no_thread() {
        let now = Instant::now();
        let mut queue = Queue::new(&limits(None, Some(1)));
        let turned_away = |queue: &mut Queue<&'static str>| {
            queue.expire(2, now + SETTLE);
            queue.take_turned_away()
        };
        for name in ["a", "b", "c"] {
            queue.push(entry(name, now), now);
        }
        assert_eq!(turned_away(&mut queue), [], "two threads may take two of them");
        queue.push(entry("d", now), now);
        queue.expire(2, now + SETTLE / 2);
        assert!(!queue.has_turned_away(), "one may be done soon");
        assert_eq!(turned_away(&mut queue), [("d", Shed::QueueFull)]);
        assert!(queue.pop(now).is_some() && queue.pop(now).is_some());
        queue.push(entry("e", now), now);
        queue.push(Entry { large: true, ..entry("f", now + MS) }, now + MS);
        assert_eq!(turned_away(&mut queue), [("e", Shed::QueueFull)], "the last one is too fresh");
        queue.expire(2, now + SETTLE + MS);
        assert_eq!(queue.take_turned_away(), [("f", Shed::QueueFull)]);
        assert!(!queue.has_large());
        queue.ended(false, now);
        queue.push(entry("g", now), now);
        assert_eq!(turned_away(&mut queue), [], "one is done");
    }

    #[test]
    fn a_large_request_that_was_kept_from_a_free_thread_gets_it_in_time() {
        let now = Instant::now();
        let large = |name| Entry { large: true, ..entry(name, now) };
        for (threads, wanted) in [(2, None), (1, Some(Shed::QueueTime))] {
            let mut queue = Queue::new(&limits(Some(1000), None));
            queue.push(large("first"), now);
            queue.push(large("second"), now);
            assert_eq!(queue.pop(now).map(|entry| entry.request), Some("first"));
            assert_eq!((queue.ready(), queue.kept()), (0, 1));
            let later = now + 1001 * MS;
            queue.expire(threads, later);
            assert_eq!(queue.take_turned_away().first().map(|(_, why)| *why), wanted, "{threads} threads");
            assert_eq!(queue.kept(), 0);
            assert_eq!(
                queue.pop(later + 10 * MS).map(|entry| entry.request),
                wanted.is_none().then_some("second")
            );
        }
    }
}
