//! Complete requests in the order in which they became complete, and the Ruby threads that wait for one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::large::Load;
use super::seat::Seat;
use crate::cluster::balance::LargeTurns;
use crate::connection::Connection;

/// The queue of complete requests (FIFO) and the threads that wait without being the poller. Large requests beyond those
/// that may be served at a time are kept until one of them is done.
#[derive(Default)]
pub(crate) struct Backlog {
    len: AtomicUsize,
    /// Length of `kept`; above 0 only while a large request is in `ready` or being served, or it is not this worker's
    /// turn. The monitor looks meanwhile.
    kept: AtomicUsize,
    has_large: AtomicBool,
    /// Length of `idle`.
    parked: AtomicUsize,
    /// The greatest `len` since it was last asked for.
    most: AtomicUsize,
    /// How many requests have ended whose threads did not compete: with each, whoever competed has no rival any more.
    rivals: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    ready: VecDeque<Entry>,
    idle: Vec<Arc<Seat>>,
    kept: VecDeque<Entry>,
    /// Large requests in `ready` or being served.
    large: usize,
    /// How many there may be.
    large_allowed: usize,
    large_begun_at: Instant,
    /// Among the workers of a cluster.
    turns: Option<LargeTurns>,
}

struct Entry {
    since: Instant,
    connection: Arc<Connection>,
    large: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            idle: Vec::new(),
            kept: VecDeque::new(),
            large: 0,
            large_allowed: 1,
            large_begun_at: Instant::now(),
            turns: None,
        }
    }
}

impl State {
    /// Makes large requests ready, as many as may be served.
    fn admit(&mut self, now: Instant) {
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
}

impl Backlog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Large requests are served by turns with other workers.
    pub(crate) fn take_turns(&self, turns: LargeTurns) {
        self.state().turns = Some(turns);
    }

    /// From now on they need not wait for others: `true` when there are more to be served now.
    pub(crate) fn stop_taking_turns(&self, now: Instant) -> bool {
        self.state().turns = None;
        self.admit(now)
    }

    /// Large requests that a thread may take or serves, or that are kept.
    pub(crate) fn has_large(&self) -> bool {
        self.has_large.load(Ordering::Acquire)
    }

    /// Requests that a thread may take.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Large requests that no thread may take yet.
    pub(crate) fn kept(&self) -> usize {
        self.kept.load(Ordering::Acquire)
    }

    /// The most requests that waited since [`Backlog::forget_most`].
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_most(&self) {
        self.most.store(self.len(), Ordering::Relaxed);
    }

    /// Whether the oldest request was already complete at `then`.
    pub(crate) fn waits_since(&self, then: Instant) -> bool {
        self.len() > 0 && self.state().ready.front().is_some_and(|entry| entry.since <= then)
    }

    /// `false` when the request is kept.
    pub(crate) fn push(&self, connection: Arc<Connection>, large: bool, now: Instant) -> bool {
        let mut state = self.state();
        let entry = Entry { since: now, connection, large };
        if large {
            state.kept.push_back(entry);
            state.admit(now);
        } else {
            state.ready.push_back(entry);
        }
        self.tell(&state);
        self.most.fetch_max(state.ready.len() + state.kept.len(), Ordering::Relaxed);
        !large || state.kept.is_empty()
    }

    /// Lets as many large requests be served beside each other as `load` says, given how many it was and when one was
    /// last begun; the first one when it is this worker's turn. `true` when there are more to be served now.
    pub(crate) fn allow_large(&self, load: impl FnOnce(usize, Instant) -> Load, now: Instant) -> bool {
        let mut state = self.state();
        if state.large > 0 {
            let load = load(state.large_allowed, state.large_begun_at);
            if !state.kept.is_empty() {
                state.large_allowed = load.allowed();
            }
            if let Some(turns) = &state.turns
                && load.gives_up_turn()
            {
                turns.end();
            }
        }
        drop(state);
        self.admit(now)
    }

    fn admit(&self, now: Instant) -> bool {
        let mut state = self.state();
        let before = state.ready.len();
        state.admit(now);
        self.tell(&state);
        state.ready.len() > before
    }

    /// The oldest request, for the thread of `seat`. To be called with the GVL held: a request popped before would wait
    /// for it behind every thread that computes, up to 100 ms each.
    pub(crate) fn pop(&self, seat: &Seat) -> Option<Arc<Connection>> {
        if self.len() == 0 {
            return None;
        }
        let mut state = self.state();
        let entry = state.ready.pop_front()?;
        self.len.store(state.ready.len(), Ordering::Release);
        if entry.large {
            state.large_begun_at = Instant::now();
            seat.large.store(true, Ordering::Release);
        }
        Some(entry.connection)
    }

    /// Parks `seat` until it is woken; returns at once when a request is ready or `may_wait` says no, which is asked
    /// under the lock that [`Backlog::wake`] takes: who changes the answer and then wakes everybody misses nobody.
    pub(crate) fn wait(&self, seat: &Arc<Seat>, may_wait: impl FnOnce() -> bool) {
        self.park(seat, |ready| ready == 0 && may_wait());
    }

    /// As [`Backlog::wait`], whether a request is ready or not.
    pub(crate) fn stand_back(&self, seat: &Arc<Seat>, may_wait: impl FnOnce() -> bool) {
        self.park(seat, |_| may_wait());
    }

    fn park(&self, seat: &Arc<Seat>, may_wait: impl FnOnce(usize) -> bool) {
        let stays = {
            let mut state = self.state();
            state.idle.push(Arc::clone(seat));
            // Before the question: who changes the answer looks whether anybody is parked afterwards.
            self.parked.store(state.idle.len(), Ordering::SeqCst);
            !seat.is_interrupted() && may_wait(state.ready.len())
        };
        if stays {
            seat.park(None);
        }
        let mut state = self.state();
        state.idle.retain(|other| !Arc::ptr_eq(other, seat));
        self.parked.store(state.idle.len(), Ordering::Release);
    }

    /// Wakes up to `count` waiting threads, the last that lay down first (its caches are warm).
    pub(crate) fn wake(&self, count: usize) {
        self.call(count, false);
    }

    /// As [`Backlog::wake`]; to `compete` means to serve even though another thread computes.
    pub(crate) fn call(&self, count: usize, compete: bool) {
        if self.parked.load(Ordering::SeqCst) == 0 && count < usize::MAX {
            return;
        }
        let woken: Vec<_> = {
            let mut state = self.state();
            let keep = state.idle.len().saturating_sub(count);
            let woken = state.idle.drain(keep..).collect();
            self.parked.store(state.idle.len(), Ordering::Release);
            woken
        };
        for seat in woken {
            if compete {
                seat.competing.store(self.rivals.load(Ordering::Acquire) + 1, Ordering::Release);
            }
            seat.wake();
        }
    }

    /// Whether the thread of `seat` is to serve even though another one computes: until that one is done.
    pub(crate) fn competes(&self, seat: &Seat) -> bool {
        seat.competing.load(Ordering::Acquire) == self.rivals.load(Ordering::Acquire) + 1
    }

    /// The thread of `seat` is done with a request.
    pub(crate) fn done(&self, seat: &Seat) {
        if !self.competes(seat) {
            self.rivals.fetch_add(1, Ordering::AcqRel);
        }
        if seat.large.swap(false, Ordering::AcqRel) {
            let mut state = self.state();
            state.large -= 1;
            if state.large == 0 {
                state.large_allowed = 1;
                if let Some(turns) = &state.turns {
                    turns.end();
                }
            }
            state.admit(Instant::now());
            self.tell(&state);
        }
    }

    fn tell(&self, state: &State) {
        self.len.store(state.ready.len(), Ordering::Release);
        self.kept.store(state.kept.len(), Ordering::Release);
        self.has_large.store(state.large + state.kept.len() > 0, Ordering::Release);
    }

    /// How many threads are parked.
    pub(crate) fn parked(&self) -> usize {
        self.parked.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_competes_until_its_rival_is_done() {
        let backlog = Backlog::default();
        let (rival, seat) = (Seat::default(), Arc::new(Seat::default()));
        assert!(!backlog.competes(&seat));
        seat.competing.store(backlog.rivals.load(Ordering::Acquire) + 1, Ordering::Release);
        backlog.done(&seat);
        assert!(backlog.competes(&seat), "its own requests end nothing");
        backlog.done(&rival);
        assert!(!backlog.competes(&seat));
    }

    #[test]
    fn an_interrupted_thread_does_not_lie_down() {
        let backlog = Backlog::default();
        let seat = Arc::new(Seat::default());
        seat.interrupt();
        backlog.wait(&seat, || true);
        assert_eq!(backlog.parked(), 0);
        assert!(seat.take_interrupt());
        assert!(!seat.take_interrupt());
    }
}
