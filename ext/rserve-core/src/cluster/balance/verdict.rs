//! Whether a worker takes a waiting connection, or leaves it to another.
//!
//! All workers that sleep are woken by a connection. The first one would
//! take it: of 20 keep-alive connections, one of two workers may get all, and a
//! worker whose threads all hang may get those that it can never answer.
//! But a worker that holds back for no reason is idle time: a connection is left
//! only to a worker that has clearly fewer, no more work than oneself and an idle
//! thread, and shows that it lives.

use std::time::{Duration, Instant};

use crate::cluster::PlaceId;
use crate::tuning::{FIRST_TAKES, LONGEST_LEFT, LOOK_AGAIN, OCCUPIED, STALLED, STUCK_AFTER};

/// How many more connections a worker may have before it leaves them to another;
/// beyond 16 times this, in proportion.
const SLACK: u32 = 2;

/// How many more connections a worker may have before it passes some on; beyond 4 times this, in proportion.
const SKEW: u32 = 4;

/// How busy a worker is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorkerLoad {
    /// Whose load.
    pub place: PlaceId,
    /// The largest its thread pool may grow.
    pub threads: u32,
    /// Requests that a thread is serving, or that wait for one.
    pub work: u32,
    /// Connections open, idle ones too.
    pub connections: u32,
    /// Grows whenever it polls: a sign of life.
    pub turns: u32,
    /// It serves large requests, beside which every other one is slow.
    pub large: bool,
    /// It has left what comes to the others, to collect garbage.
    pub collects: bool,
    /// Others have, but it has not answered its first request yet, which takes longer than any other: code is read, connections are made,
    /// memory that it shares with its master is copied. It gets one at a time.
    pub cold: bool,
}

impl WorkerLoad {
    pub(super) fn is_full(&self) -> bool {
        self.idle_threads() == 0
    }

    /// How many requests more it should be given.
    fn idle_threads(&self) -> u32 {
        let threads = if self.cold { self.threads.min(1) } else { self.threads };
        threads.saturating_sub(self.work)
    }

    /// Any other worker with a thread serves sooner.
    pub(super) fn is_slow(&self) -> bool {
        self.large || self.collects
    }
}

/// What to do with a waiting connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Take it.
    Accept,
    /// Take none now.
    Leave {
        /// Ask again after this time at the latest.
        look_again: Duration,
    },
}

/// One worker's view of the others.
#[derive(Debug, Default)]
pub struct Balancer {
    /// Those that did not move when a connection waited for them, and where they stood.
    stuck: Vec<(PlaceId, u32)>,
    /// Requests that this worker's threads have begun so far.
    begun: u64,
    leaving: Option<Leaving>,
    queues_after: Option<Duration>,
}

/// A connection was left to others.
#[derive(Debug)]
struct Leaving {
    since: Instant,
    /// [`Balancer::begun`] then.
    begun: u64,
    /// Where the others stood then.
    turns: Vec<(PlaceId, u32)>,
}

impl Balancer {
    /// Decides about a connection that waits now. `others` are the workers that accept.
    ///
    /// A worker without an idle thread leaves all connections in the listener's
    /// queue, where the first free worker takes them; unless it has no siblings at all, not even one that boots or is being replaced:
    /// a request that one of its own threads waits for must not be behind that thread. But where
    /// connections are kept alive nobody may ever be free: when all are full, one whose threads get on
    /// takes a connection that has waited for long. One whose threads hang never does, but see
    /// [`Balancer::queue_after`].
    pub fn verdict(
        &mut self,
        own: WorkerLoad,
        others: &[WorkerLoad],
        siblings: bool,
        now: Instant,
    ) -> Verdict {
        self.doubt(others, now);
        let better = self.alive(others).any(|other| is_better(other, &own));
        let waited = self.leaving.as_ref().map_or(Duration::ZERO, |leaving| now - leaving.since);
        let gets_on = self.leaving.as_ref().is_some_and(|leaving| leaving.begun != self.begun);
        let queues = own.is_full() && self.queues_after.is_some_and(|after| waited >= after);
        let leave = if !own.is_full() {
            better && waited < STUCK_AFTER
        } else {
            let turn = gets_on && waited >= LONGEST_LEFT;
            better || !(turn || queues || (others.is_empty() && !siblings))
        };
        if !leave {
            // Others may have waited as long as this one.
            if !queues {
                self.leaving = None;
            }
            return Verdict::Accept;
        }
        self.leaving.get_or_insert_with(|| Leaving {
            since: now,
            begun: self.begun,
            turns: others.iter().map(|other| (other.place, other.turns)).collect(),
        });
        Verdict::Leave { look_again: LOOK_AGAIN }
    }

    /// Requests that wait here for too long are turned away, so that they have to wait here and not where nobody sees
    /// for how long; or some need no thread, as those for files. With no thread anywhere, connections that have been left for `after` are taken, all of them. The
    /// longer it is that a thread has begun something, the longer others are given the chance. `None` where neither is
    /// so.
    pub fn queue_after(&mut self, after: Option<Duration>) {
        self.queues_after = after;
    }

    /// How many connections on which a request begins are passed on to other workers, at most, before this is asked
    /// again; `stalled` is how long none of this worker's threads has begun a request, and it `computes` when one of them
    /// keeps the GVL, as far as is known.
    ///
    /// All of them by a worker that serves large requests, or collects. Those that would wait for a thread for long, while
    /// there is an idle one elsewhere; those that would wait for the GVL, while another worker has nothing to do. And half of
    /// what one has more than another by far: workers are forked after connections were made.
    pub fn surplus(&self, own: WorkerLoad, others: &[WorkerLoad], computes: bool, stalled: Duration) -> u32 {
        let takers = || self.alive(others).filter(|other| !other.is_slow() && !other.is_full());
        if own.is_slow() {
            return if takers().next().is_some() { u32::MAX } else { 0 };
        }
        if own.is_full() && stalled >= STALLED {
            return takers().map(|other| other.idle_threads()).sum();
        }
        let idle = || takers().filter(|other| other.work == 0).count();
        if computes && stalled >= OCCUPIED && idle() > 0 {
            return u32::try_from(idle()).unwrap_or(u32::MAX);
        }
        let lighter = takers().filter(|other| other.work <= own.work);
        let fewest = lighter.map(|other| other.connections).min().unwrap_or(u32::MAX);
        let slack = SKEW.max(own.connections / 4);
        own.connections.saturating_sub(fewest).saturating_sub(slack).div_ceil(2)
    }

    /// Whether a worker is not [`WorkerLoad::cold`] any more that has begun so many requests, of which so many are not
    /// answered, the last one so long ago. A first request that takes for ever tells nothing of the next.
    pub fn is_warm(begun: u64, work: u32, stalled: Duration) -> bool {
        begun > 1 || (begun == 1 && (work == 0 || stalled >= FIRST_TAKES))
    }

    /// The worker's threads have begun so many requests so far.
    pub fn has_begun(&mut self, requests: u64) {
        self.begun = requests;
    }

    /// See [`Balancer::has_begun`].
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether any of `others` shows that it lives.
    pub fn any_alive(&self, others: &[WorkerLoad]) -> bool {
        self.alive(others).next().is_some()
    }

    fn alive<'a>(&'a self, others: &'a [WorkerLoad]) -> impl Iterator<Item = &'a WorkerLoad> {
        others.iter().filter(|other| !self.stuck.contains(&(other.place, other.turns)))
    }

    /// No connection waits: somebody took what was left.
    pub fn nothing_waits(&mut self) {
        self.leaving = None;
    }

    /// Takes for stuck who did not move since a connection was left to them, and for well who did.
    fn doubt(&mut self, others: &[WorkerLoad], now: Instant) {
        self.stuck.retain(|stood| others.iter().any(|other| *stood == (other.place, other.turns)));
        let Some(leaving) = self.leaving.as_ref().filter(|leaving| now - leaving.since >= STUCK_AFTER) else {
            return;
        };
        for other in others {
            let stands = (other.place, other.turns);
            if leaving.turns.contains(&stands) && !self.stuck.contains(&stands) {
                self.stuck.push(stands);
            }
        }
    }
}

/// Whether `other` should have the connection rather than `own`.
fn is_better(other: &WorkerLoad, own: &WorkerLoad) -> bool {
    if other.is_slow() != own.is_slow() {
        return own.is_slow() && !other.is_full();
    }
    let slack = SLACK.max(own.connections / 16);
    let has_fewer = own.connections > other.connections.saturating_add(slack);
    // Connections of one request each come and go faster than figures tell: a worker that has nothing to do takes what there is.
    !other.is_full() && (own.is_full() || (has_fewer && other.work <= own.work))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAVE: Verdict = Verdict::Leave { look_again: LOOK_AGAIN };

    /// A worker with 5 threads.
    fn load(work: u32, connections: u32) -> WorkerLoad {
        WorkerLoad {
            place: PlaceId(0),
            threads: 5,
            work,
            connections,
            turns: 0,
            large: false,
            collects: false,
            cold: false,
        }
    }

    fn others(loads: &[(u32, u32)]) -> Vec<WorkerLoad> {
        let place = |at: usize| PlaceId(1 + u32::try_from(at).unwrap());
        let loads = loads.iter().enumerate();
        loads
            .map(|(at, (work, connections))| WorkerLoad { place: place(at), ..load(*work, *connections) })
            .collect()
    }

    #[test]
    fn connection_goes_to_the_worker_that_is_clearly_less_busy() {
        for (own, siblings, want, why) in [
            ((0, 0), &[][..], Verdict::Accept, "alone"),
            ((9, 9), &[], Verdict::Accept, "alone and full"),
            ((0, 0), &[(0, 0)], Verdict::Accept, "equal"),
            ((1, 1), &[(0, 0)], Verdict::Accept, "within the slack"),
            ((0, 3), &[(0, 0)], LEAVE, "more connections"),
            ((4, 4), &[(1, 1)], LEAVE, "more of everything"),
            ((1, 9), &[(2, 2)], Verdict::Accept, "more connections, but less to do"),
            ((4, 4), &[(5, 5)], Verdict::Accept, "the other has no thread"),
            ((4, 40), &[(5, 5)], Verdict::Accept, "many connections, but the other has no thread"),
            ((5, 5), &[(4, 4)], LEAVE, "no thread here, one there"),
            ((5, 5), &[(4, 400)], LEAVE, "no thread here, one there with many connections"),
            ((5, 5), &[(5, 5)], LEAVE, "no thread anywhere: whoever is free first"),
            ((7, 7), &[(9, 9), (5, 5)], LEAVE, "no thread anywhere"),
            ((2, 8), &[(5, 5), (0, 0)], LEAVE, "one of two"),
            ((0, 100), &[(0, 95)], Verdict::Accept, "within the proportional slack"),
            ((0, 100), &[(0, 93)], LEAVE, "beyond it"),
        ] {
            let (own, others) = (load(own.0, own.1), others(siblings));
            let got = Balancer::default().verdict(own, &others, !others.is_empty(), Instant::now());
            assert_eq!(got, want, "{why}");
        }
    }

    #[test]
    fn full_worker_waits_for_siblings_that_boot_or_are_replaced() {
        let mut balancer = Balancer::default();
        let now = Instant::now();
        assert_eq!(balancer.verdict(load(4, 4), &[], true, now), Verdict::Accept, "it has a thread");
        assert_eq!(balancer.verdict(load(5, 5), &[], true, now), LEAVE);
        assert_eq!(
            balancer.verdict(load(5, 5), &[], true, now + STUCK_AFTER),
            LEAVE,
            "its threads do not get on"
        );
        balancer.has_begun(1);
        assert_eq!(balancer.verdict(load(5, 5), &[], true, now + STUCK_AFTER), Verdict::Accept, "they do");
    }

    #[test]
    fn worker_that_has_answered_nothing_yet_gets_one_request_at_a_time() {
        let cold = |load| WorkerLoad { cold: true, ..load };
        for (own, other, want, why) in [
            (cold(load(0, 0)), load(1, 1), Verdict::Accept, "it has none"),
            (cold(load(1, 1)), load(1, 1), LEAVE, "it has one"),
            (cold(load(1, 1)), load(5, 5), LEAVE, "the other answers sooner, though it has no thread"),
            (cold(load(1, 1)), cold(load(1, 1)), LEAVE, "both are new, others are not"),
            (load(1, 9), cold(load(0, 0)), LEAVE, "the other has none"),
            (load(2, 9), cold(load(1, 0)), Verdict::Accept, "the other has one"),
        ] {
            let others = [WorkerLoad { place: PlaceId(1), ..other }];
            let got = Balancer::default().verdict(own, &others, true, Instant::now());
            assert_eq!(got, want, "{why}");
        }
        let hung = load(5, 9);
        let [new, busy] = [(0, 0), (1, 1)].map(|(work, connections)| cold(load(work, connections)));
        assert_eq!(Balancer::default().surplus(hung, &[new], false, STALLED), 1, "not one for each thread");
        assert_eq!(Balancer::default().surplus(hung, &[busy], false, STALLED), 0);
    }

    #[test]
    fn first_request_counts_as_answered_when_it_takes_for_ever() {
        let shorter = FIRST_TAKES - Duration::from_millis(1);
        for (begun, work, stalled, want) in [
            (0, 0, Duration::MAX, false),
            (0, 1, Duration::MAX, false),
            (1, 1, shorter, false),
            (1, 1, FIRST_TAKES, true),
            (1, 0, Duration::ZERO, true),
            (2, 2, Duration::ZERO, true),
        ] {
            assert_eq!(
                Balancer::is_warm(begun, work, stalled),
                want,
                "{begun} begun, {work} not answered, {stalled:?}"
            );
        }
    }

    #[test]
    fn connection_goes_to_the_worker_that_serves_no_large_request() {
        let large = |load| WorkerLoad { large: true, ..load };
        let collects = |load| WorkerLoad { collects: true, ..load };
        for (own, other, want, why) in [
            (large(load(1, 1)), load(4, 40), LEAVE, "whatever else it does"),
            (large(load(1, 1)), load(5, 5), Verdict::Accept, "the other has no thread"),
            (load(4, 40), large(load(1, 1)), Verdict::Accept, "the other way round"),
            (large(load(1, 9)), large(load(1, 1)), LEAVE, "both do"),
            (collects(load(0, 0)), load(4, 40), LEAVE, "it collects"),
            (collects(load(0, 0)), load(5, 5), Verdict::Accept, "it collects, but the other has no thread"),
        ] {
            assert_eq!(Balancer::default().verdict(own, &[other], true, Instant::now()), want, "{why}");
        }
    }

    #[test]
    fn connections_are_passed_on_where_they_fare_better() {
        let large = |load| WorkerLoad { large: true, ..load };
        let collects = |load| WorkerLoad { collects: true, ..load };
        let computing =
            |own, siblings: &[WorkerLoad], stalled| Balancer::default().surplus(own, siblings, true, stalled);
        let (one, idle) = (load(1, 2), load(0, 9));
        assert_eq!(computing(one, &[idle, load(1, 0), idle], OCCUPIED), 2, "one for each that is idle");
        assert_eq!(computing(one, &[load(1, 0)], OCCUPIED), 0, "none is");
        assert_eq!(computing(one, &[large(idle), collects(idle)], OCCUPIED), 0, "none serves sooner");
        assert_eq!(computing(one, &[idle], OCCUPIED / 2), 0, "it may be done soon");
        for (own, siblings, millis, want, why) in [
            (load(0, 9), &[][..], 0, 0, "alone"),
            (load(0, 12), &[load(0, 8)], 0, 0, "a little more"),
            (load(0, 20), &[load(0, 8)], 0, 4, "much more"),
            (load(0, 200), &[load(0, 160)], 0, 0, "a little more, in proportion"),
            (load(0, 200), &[load(0, 0), load(0, 190)], 0, 75, "a new worker"),
            (load(0, 20), &[load(1, 0)], 0, 0, "who has more to do"),
            (load(5, 20), &[load(5, 0)], 99, 0, "who has no thread"),
            (load(0, 20), &[large(load(0, 0))], 0, 0, "who serves uploads"),
            (load(5, 5), &[load(3, 5)], 9, 0, "threads that get on"),
            (load(5, 5), &[load(3, 5)], 10, 2, "threads that do not"),
            (large(load(1, 2)), &[load(4, 40)], 0, u32::MAX, "uploads here"),
            (large(load(1, 2)), &[large(load(0, 0)), load(5, 5)], 0, 0, "uploads everywhere"),
            (collects(load(1, 2)), &[load(4, 40)], 0, u32::MAX, "a collection here"),
            (collects(load(1, 2)), &[large(load(0, 0))], 0, 0, "it may be done before uploads are"),
            (load(0, 20), &[collects(load(0, 0))], 0, 0, "who collects"),
        ] {
            let got = Balancer::default().surplus(own, siblings, false, Duration::from_millis(millis));
            assert_eq!(got, want, "{why}");
        }
    }

    #[test]
    fn two_workers_never_leave_a_connection_to_each_other() {
        for (work, connections) in (0..5).flat_map(|work| (0..12).map(move |connections| (work, connections)))
        {
            for (their_work, theirs) in (0..5).flat_map(|work| (0..12).map(move |more| (work, more))) {
                for larges in [(false, false), (false, true), (true, true)] {
                    let one = WorkerLoad { large: larges.0, ..load(work, connections) };
                    let other = WorkerLoad { large: larges.1, ..load(their_work, theirs) };
                    assert!(!(is_better(&one, &other) && is_better(&other, &one)), "{one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn twenty_keep_alive_connections_are_split_no_worse_than_twelve_to_eight() {
        let mut balancer = Balancer::default();
        let (mut one, mut other) = (0, 0);
        for _ in 0..20 {
            match balancer.verdict(load(0, one), &others(&[(0, other)]), true, Instant::now()) {
                Verdict::Accept => one += 1,
                Verdict::Leave { .. } => other += 1,
            }
            balancer.nothing_waits();
        }
        assert!(one <= 12 && other <= 12, "{one}/{other}");
    }

    #[test]
    fn stuck_worker_is_left_nothing_until_it_moves() {
        let now = Instant::now();
        let mut balancer = Balancer::default();
        let busy = load(4, 4);
        let mut stopped = others(&[(0, 0)]);
        assert_eq!(balancer.verdict(busy, &stopped, true, now), LEAVE);
        assert_eq!(balancer.verdict(busy, &stopped, true, now + STUCK_AFTER), Verdict::Accept);
        assert_eq!(
            balancer.verdict(busy, &stopped, true, now + STUCK_AFTER),
            Verdict::Accept,
            "and the next at once"
        );
        stopped[0].turns += 1;
        assert_eq!(balancer.verdict(busy, &stopped, true, now + STUCK_AFTER), LEAVE, "it lives");
    }

    #[test]
    fn worker_whose_threads_hang_takes_nothing_while_there_is_another() {
        let now = Instant::now();
        for (lives, work) in [(true, 5), (false, 5), (true, 0), (false, 0)] {
            let mut balancer = Balancer::default();
            let mut other = others(&[(work, work)]);
            for millis in 0..1_000 {
                other[0].turns += u32::from(lives);
                let verdict = balancer.verdict(load(5, 5), &other, true, now + Duration::from_millis(millis));
                assert_eq!(verdict, LEAVE, "after {millis} ms, {lives} {work}");
            }
        }
    }

    #[test]
    fn worker_whose_threads_get_on_takes_what_waits_for_long() {
        let now = Instant::now();
        let mut balancer = Balancer::default();
        let mut full = others(&[(5, 5)]);
        assert_eq!(balancer.verdict(load(9, 9), &full, true, now), LEAVE);
        balancer.has_begun(1);
        full[0].turns += 1;
        assert_eq!(balancer.verdict(load(9, 9), &full, true, now + LONGEST_LEFT / 2), LEAVE);
        let mut free = full.clone();
        free[0].work = 4;
        assert_eq!(
            balancer.verdict(load(9, 9), &free, true, now + LONGEST_LEFT),
            LEAVE,
            "the other has a thread"
        );
        assert_eq!(balancer.verdict(load(9, 9), &full, true, now + LONGEST_LEFT), Verdict::Accept);
        assert_eq!(
            balancer.verdict(load(9, 9), &full, true, now + LONGEST_LEFT),
            LEAVE,
            "but not all of them"
        );
    }

    #[test]
    fn full_worker_that_turns_requests_away_takes_all_that_wait_when_nobody_has_a_thread() {
        let now = Instant::now();
        let mut balancer = Balancer::default();
        let after = Duration::from_millis(20);
        balancer.queue_after(Some(after));
        let mut other = others(&[(5, 5)]);
        assert_eq!(balancer.verdict(load(9, 9), &other, true, now), LEAVE, "others first");
        for _ in 0..3 {
            other[0].turns += 1;
            assert_eq!(balancer.verdict(load(9, 9), &other, true, now + after), Verdict::Accept);
        }
        other[0].work = 4;
        assert_eq!(balancer.verdict(load(9, 9), &other, true, now + after), LEAVE, "the other has a thread");
        other[0].work = 5;
        balancer.nothing_waits();
        assert_eq!(balancer.verdict(load(9, 9), &other, true, now + after), LEAVE, "others first, again");
    }

    #[test]
    fn connection_that_nobody_takes_is_taken_by_whoever_has_a_thread() {
        let now = Instant::now();
        let mut balancer = Balancer::default();
        let mut lazy = others(&[(0, 0)]);
        assert_eq!(balancer.verdict(load(1, 9), &lazy, true, now), LEAVE);
        lazy[0].turns += 1;
        assert_eq!(balancer.verdict(load(1, 9), &lazy, true, now + STUCK_AFTER / 2), LEAVE);
        assert_eq!(balancer.verdict(load(1, 9), &lazy, true, now + STUCK_AFTER), Verdict::Accept);
        assert_eq!(
            balancer.verdict(load(1, 9), &lazy, true, now + STUCK_AFTER),
            LEAVE,
            "but not all of them"
        );
    }
}
