//! Requests that fibers serve, all of them on one Ruby thread with a scheduler: a fiber that waits holds no thread. Which
//! requests these are, how many are served at a time, and how the fiber that begins them (the pump) hears of one.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::queue::{Entry, Queue};
use crate::config::options::{FiberOptions, Paths, QueueLimits};
use crate::connection::Connection;
use crate::connection::exchange::Exchange;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};
use crate::sys::Bell;
use crate::telemetry::Shed;

/// See the module.
pub(crate) struct FiberLane<C = Arc<Connection>> {
    /// `None` is every request.
    routes: Option<Paths>,
    max: usize,
    limited: bool,
    len: AtomicUsize,
    begun: AtomicUsize,
    /// How many of those begun the server has answered in the application's place.
    hung: AtomicUsize,
    /// The pump waits for the bell.
    asleep: AtomicBool,
    bell: Bell,
    queue: Mutex<Queue<C>>,
    /// Those that fibers serve and whose clients may be gone, and whether there are any.
    perhaps_gone: Mutex<Vec<C>>,
    has_perhaps_gone: AtomicBool,
}

impl FiberLane {
    /// Whether fibers serve the complete request of `exchange`. One that is refused never reaches the application.
    pub(crate) fn takes(&self, exchange: &Exchange) -> bool {
        let named = |routes: &Paths| !exchange.is_refused() && routes.include(exchange.request_path());
        self.routes.as_ref().is_none_or(named)
    }
}

impl<C> FiberLane<C> {
    /// # Errors
    ///
    /// No descriptor is left.
    pub(crate) fn new(options: &FiberOptions, limits: &QueueLimits) -> io::Result<Self> {
        let queue = Queue::new(limits);
        Ok(Self {
            routes: options.routes.clone(),
            max: options.max,
            limited: queue.is_limited(),
            len: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            bell: Bell::new()?,
            queue: Mutex::new(queue),
            perhaps_gone: Mutex::default(),
            has_perhaps_gone: AtomicBool::new(false),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At most so many are served at a time.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Every request is served so.
    pub(crate) fn takes_all(&self) -> bool {
        self.routes.is_none()
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Requests that fibers have begun and not ended.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// See [`FiberLane::one_hung_more`].
    pub(crate) fn hung(&self) -> usize {
        self.hung.load(Ordering::SeqCst)
    }

    /// Nobody waits for what one more of the fibers does.
    pub(crate) fn one_hung_more(&self) {
        self.hung.fetch_add(1, Ordering::SeqCst);
    }

    /// One of them has done it after all.
    pub(crate) fn one_hung_less(&self) {
        self.hung.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn push(&self, entry: Entry<C>, now: Instant) {
        let mut queue = self.queue();
        queue.push(entry, now);
        self.tell(&queue);
        drop(queue);
        self.rouse();
    }

    /// Adds one that a fiber has taken and did not begin, behind the others.
    pub(crate) fn put_back(&self, entry: Entry<C>) {
        let mut queue = self.queue();
        queue.put_back(entry);
        self.tell(&queue);
    }

    /// Whether a fiber may begin a request.
    pub(crate) fn is_ready(&self) -> bool {
        self.len() > 0 && self.begun() < self.max + self.hung()
    }

    /// The oldest request, for the calling fiber, which counts from here on.
    pub(crate) fn begin(&self, now: Instant) -> Option<C> {
        let mut queue = self.queue();
        let entry = queue.pop(now);
        if entry.is_some() {
            self.begun.fetch_add(1, Ordering::SeqCst);
        }
        self.tell(&queue);
        entry.map(|entry| entry.request)
    }

    /// The calling fiber is done with a request: how many were begun with it.
    pub(crate) fn end(&self, now: Instant) -> usize {
        if self.limited {
            self.queue().ended(false, now);
        }
        let before = self.begun.fetch_sub(1, Ordering::SeqCst);
        if before >= self.max && self.len() > 0 {
            self.rouse();
        }
        before
    }

    fn perhaps_gone(&self) -> MutexGuard<'_, Vec<C>> {
        self.perhaps_gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of a request that a fiber serves may be gone: the pump is to look.
    pub(crate) fn doubt(&self, request: C) {
        let mut perhaps_gone = self.perhaps_gone();
        perhaps_gone.push(request);
        self.has_perhaps_gone.store(true, Ordering::SeqCst);
        drop(perhaps_gone);
        self.rouse();
    }

    /// Whether [`FiberLane::take_perhaps_gone`] has any.
    pub(crate) fn has_perhaps_gone(&self) -> bool {
        self.has_perhaps_gone.load(Ordering::SeqCst)
    }

    /// Requests whose clients may be gone.
    pub(crate) fn take_perhaps_gone(&self) -> Vec<C> {
        let mut perhaps_gone = self.perhaps_gone();
        self.has_perhaps_gone.store(false, Ordering::SeqCst);
        std::mem::take(&mut perhaps_gone)
    }

    /// Requests may be turned away ([`FiberLane::turn_away`]).
    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    /// Requests that no fiber will begin, for the caller to answer, those too that have just waited for too long.
    pub(crate) fn turn_away(&self, now: Instant) -> Vec<(C, Shed)> {
        let mut queue = self.queue();
        queue.expire(self.max, now);
        self.tell(&queue);
        queue.take_turned_away()
    }

    fn tell(&self, queue: &Queue<C>) {
        self.len.store(queue.ready(), Ordering::SeqCst);
    }

    /// Readable while the bell rings.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.descriptor()
    }

    /// The pump is about to wait for the bell: `false` when there is something to do instead.
    pub(crate) fn lie_down(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        // Whoever makes a request ready looks at the flag afterwards: one sees the other.
        fence(Ordering::SeqCst);
        if self.is_ready() || self.has_perhaps_gone() {
            self.asleep.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// The pump's wait is over.
    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        self.bell.stop();
    }

    /// Rings if the pump waits.
    pub(crate) fn rouse(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Has the pump look, whatever it does.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::sys::is_readable;

    fn lane(max: usize, limits: &QueueLimits) -> FiberLane<u32> {
        FiberLane::new(&FiberOptions { routes: None, max }, limits).unwrap()
    }

    fn entry(request: u32, since: Instant) -> Entry<u32> {
        Entry { request, since, large: false, exempt: false }
    }

    #[test]
    fn as_many_are_begun_as_may_be_and_the_others_keep_their_order() {
        let (lane, now) = (lane(2, &QueueLimits::default()), Instant::now());
        assert!(lane.lie_down());
        (1..=4).for_each(|request| lane.push(entry(request, now), now));
        assert!(is_readable(lane.descriptor()));
        lane.get_up();
        assert!(!is_readable(lane.descriptor()));
        let begin = || lane.is_ready().then(|| lane.begin(now)).flatten();
        assert_eq!((begin(), begin(), begin()), (Some(1), Some(2), None));
        assert!(lane.lie_down(), "those that wait are no reason to look");
        assert!(!is_readable(lane.descriptor()));
        assert_eq!(lane.end(now), 2);
        assert!(is_readable(lane.descriptor()), "one may be begun");
        lane.get_up();
        assert_eq!((begin(), begin(), lane.len()), (Some(3), None, 1));
    }

    #[test]
    fn a_pump_that_waits_is_roused_for_a_client_that_may_be_gone() {
        let lane = lane(2, &QueueLimits::default());
        assert!(lane.lie_down());
        lane.doubt(7);
        assert!(is_readable(lane.descriptor()));
        lane.get_up();
        assert!(!lane.lie_down(), "it has not looked");
        assert_eq!((lane.take_perhaps_gone(), lane.has_perhaps_gone()), (vec![7], false));
        assert!(lane.lie_down());
        assert!(!is_readable(lane.descriptor()));
    }

    #[test]
    fn one_that_hangs_counts_no_more() {
        let (lane, now) = (lane(1, &QueueLimits::default()), Instant::now());
        (1..=2).for_each(|request| lane.push(entry(request, now), now));
        assert_eq!(lane.begin(now), Some(1));
        assert!(!lane.is_ready());
        lane.one_hung_more();
        assert!(lane.is_ready());
    }

    #[test]
    fn who_waits_for_too_long_is_turned_away_while_all_fibers_are_taken() {
        let now = Instant::now();
        let limit = Duration::from_millis(50);
        let lane = lane(1, &QueueLimits { time: Some(limit), ..QueueLimits::default() });
        (1..=2).for_each(|request| lane.push(entry(request, now), now));
        assert_eq!(lane.begin(now), Some(1));
        assert!(lane.turn_away(now + limit).is_empty());
        assert_eq!(lane.turn_away(now + limit * 2), [(2, Shed::QueueTime)]);
        assert_eq!(lane.len(), 0);
    }
}
