//! Complete requests in the order in which they became complete, and the Ruby threads that wait for one.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::large::LargeLoad;
use super::queue::{Entry, Queue};
use super::seat::Seat;
use crate::cluster::balance::LargeTurns;
use crate::config::options::QueueLimits;
use crate::connection::Connection;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry::Shed;

/// The queue of complete requests (FIFO) and the threads that wait without being the poller. Large requests beyond those
/// that may be served at a time are kept until one of them is done.
pub(crate) struct Backlog<C = Arc<Connection>> {
    len: AtomicUsize,
    /// How many the queue keeps; above 0 only while a large request is in `ready` or being served, or it is not this
    /// worker's turn. The monitor looks meanwhile.
    kept: AtomicUsize,
    has_large: AtomicBool,
    /// Length of `idle`.
    parked: AtomicUsize,
    /// The greatest `len` since it was last asked for.
    most: AtomicUsize,
    /// How many requests have ended whose threads did not compete: with each, a thread that competed lost its rival.
    rivals: AtomicUsize,
    /// Threads that were called to compete and have not yet come to take a request: they want the GVL.
    called: AtomicUsize,
    /// Requests may be turned away.
    limited: bool,
    state: Mutex<Waiting<C>>,
}

struct Waiting<C> {
    queue: Queue<C>,
    idle: Vec<Arc<Seat>>,
}

impl<C> Default for Backlog<C> {
    fn default() -> Self {
        Self::new(&QueueLimits::default())
    }
}

impl<C> Backlog<C> {
    pub(crate) fn new(limits: &QueueLimits) -> Self {
        let queue = Queue::new(limits);
        Self {
            len: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            has_large: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            rivals: AtomicUsize::new(0),
            called: AtomicUsize::new(0),
            limited: queue.is_limited(),
            state: Mutex::new(Waiting { queue, idle: Vec::new() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Large requests are served by turns with other workers.
    pub(crate) fn take_turns(&self, turns: LargeTurns) {
        self.state().queue.set_turns(Some(turns));
    }

    /// From now on they need not wait for others: `true` when there are more to be served now.
    pub(crate) fn stop_taking_turns(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.queue.set_turns(None);
        self.admit(&mut state, now)
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
        self.len() > 0 && self.state().queue.oldest().is_some_and(|since| since <= then)
    }

    /// `false` when the request is kept.
    pub(crate) fn push(&self, entry: Entry<C>, now: Instant) -> bool {
        let mut state = self.state();
        let before = state.queue.ready();
        state.queue.push(entry, now);
        self.tell(&state);
        let waiting = state.queue.ready() + state.queue.kept();
        self.most.fetch_max(waiting, Ordering::Relaxed);
        state.queue.ready() > before
    }

    /// Adds one that a thread has taken and did not begin, behind the others.
    pub(crate) fn put_back(&self, entry: Entry<C>) {
        let mut state = self.state();
        state.queue.put_back(entry);
        self.tell(&state);
    }

    /// Lets as many large requests be served beside each other as `load` says, given how many it was and when one was
    /// last begun; the first one when it is this worker's turn. `true` when there are more to be served now.
    pub(crate) fn allow_large(&self, load: impl FnOnce(usize, Instant) -> LargeLoad, now: Instant) -> bool {
        let mut state = self.state();
        state.queue.weigh(load);
        self.admit(&mut state, now)
    }

    fn admit(&self, state: &mut Waiting<C>, now: Instant) -> bool {
        let before = state.queue.ready();
        state.queue.admit(now);
        self.tell(state);
        state.queue.ready() > before
    }

    /// Requests may be turned away ([`Backlog::turn_away`]).
    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether somebody has to answer requests that were turned away.
    pub(crate) fn has_turned_away(&self) -> bool {
        self.limited && self.state().queue.has_turned_away()
    }

    /// Requests that no thread will begin, for the caller to answer, those too that have just waited for too long; and
    /// whether there are more to be served now.
    pub(crate) fn turn_away(&self, threads: usize, now: Instant) -> (Vec<(C, Shed)>, bool) {
        let mut state = self.state();
        let kept = state.queue.kept();
        state.queue.expire(threads, now);
        self.tell(&state);
        let admitted = state.queue.kept() < kept && state.queue.ready() > 0;
        (state.queue.take_turned_away(), admitted)
    }

    /// The oldest request, for the thread of `seat`. To be called with the GVL held: a request popped before would wait
    /// for it behind every thread that computes, up to 100 ms each.
    pub(crate) fn pop(&self, seat: &Seat, now: Instant) -> Option<C> {
        if self.len() == 0 {
            return None;
        }
        let mut state = self.state();
        let entry = state.queue.pop(now);
        match self.limited {
            true => self.tell(&state),
            false => self.len.store(state.queue.ready(), Ordering::Release),
        }
        let entry = entry?;
        if entry.large {
            seat.large.store(true, Ordering::Release);
        }
        Some(entry.request)
    }

    /// Parks `seat` until it is woken; returns at once when a request is ready or `may_wait` says no, which is asked
    /// under the lock that [`Backlog::wake`] takes: a thread that changes the answer and then wakes everybody misses nobody.
    pub(crate) fn wait(&self, seat: &Arc<Seat>, may_wait: impl FnOnce() -> bool) {
        self.park(seat, |ready| ready == 0 && may_wait());
    }

    /// As [`Backlog::wait`], whether a request is ready or not.
    pub(crate) fn stand_back(&self, seat: &Arc<Seat>, may_wait: impl FnOnce() -> bool) {
        self.park(seat, |_| may_wait());
    }

    fn park(&self, seat: &Arc<Seat>, may_wait: impl FnOnce(usize) -> bool) {
        self.arrived(seat);
        let stays = {
            let mut state = self.state();
            state.idle.push(Arc::clone(seat));
            // Before the question: a thread that changes the answer looks afterwards whether anybody is parked.
            self.parked.store(state.idle.len(), Ordering::SeqCst);
            !seat.is_interrupted() && may_wait(state.queue.ready())
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
                if !seat.called.swap(true, Ordering::AcqRel) {
                    self.called.fetch_add(1, Ordering::AcqRel);
                }
            }
            seat.wake();
        }
    }

    /// How many threads are on their way that were called to compete.
    pub(crate) fn called(&self) -> usize {
        self.called.load(Ordering::Acquire)
    }

    /// The thread of `seat` has the GVL, or waits again and does not want it.
    pub(crate) fn arrived(&self, seat: &Seat) {
        if seat.called.load(Ordering::Acquire) && seat.called.swap(false, Ordering::AcqRel) {
            self.called.fetch_sub(1, Ordering::AcqRel);
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
        let large = seat.large.swap(false, Ordering::AcqRel);
        if large || self.limited {
            let mut state = self.state();
            state.queue.ended(large, Instant::now());
            self.tell(&state);
        }
    }

    fn tell(&self, state: &Waiting<C>) {
        self.len.store(state.queue.ready(), Ordering::Release);
        self.kept.store(state.queue.kept(), Ordering::Release);
        self.has_large.store(state.queue.has_large(), Ordering::Release);
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
        let backlog = Backlog::<()>::default();
        let (rival, seat) = (Seat::default(), Arc::new(Seat::default()));
        assert!(!backlog.competes(&seat));
        seat.competing.store(backlog.rivals.load(Ordering::Acquire) + 1, Ordering::Release);
        backlog.done(&seat);
        assert!(backlog.competes(&seat), "its own requests end nothing");
        backlog.done(&rival);
        assert!(!backlog.competes(&seat));
    }

    #[test]
    fn a_thread_that_is_called_is_on_its_way_until_it_comes() {
        let backlog = Arc::new(Backlog::<()>::default());
        let seat = Arc::new(Seat::default());
        let waits = {
            let (backlog, seat) = (Arc::clone(&backlog), Arc::clone(&seat));
            std::thread::spawn(move || backlog.wait(&seat, || true))
        };
        while backlog.parked() == 0 {
            std::thread::yield_now();
        }
        backlog.call(1, true);
        assert_eq!(backlog.called(), 1);
        backlog.call(1, true);
        assert_eq!(backlog.called(), 1, "nobody else is there");
        waits.join().unwrap();
        backlog.arrived(&seat);
        backlog.arrived(&seat);
        assert_eq!(backlog.called(), 0);
    }

    #[test]
    fn an_interrupted_thread_does_not_lie_down() {
        let backlog = Backlog::<()>::default();
        let seat = Arc::new(Seat::default());
        seat.interrupt();
        backlog.wait(&seat, || true);
        assert_eq!(backlog.parked(), 0);
        assert!(seat.take_interrupt());
        assert!(!seat.take_interrupt());
    }
}
