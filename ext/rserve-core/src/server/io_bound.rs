//! Bounds of the pool that change while the server runs. Why, see [`crate::pool`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Server;

/// A request that only waits for something, until this is dropped.
pub struct IoBound(Arc<Server>);

impl Drop for IoBound {
    fn drop(&mut self) {
        self.0.shared.threads.size.one_io_bound_less();
        self.0.let_surplus_go();
    }
}

impl Server {
    /// The request that the caller serves only waits for something from now on: another thread may take its place,
    /// unless there are too many such requests.
    pub fn mark_io_bound(self: &Arc<Self>) -> IoBound {
        self.shared.threads.size.one_io_bound_more();
        if self.is_at_home() && self.shared.backlog.len() > 0 {
            self.shared.monitor.hurry();
        }
        IoBound(Arc::clone(self))
    }

    /// Has between `min` and `max` (at least 1) threads from now on; those beyond leave as they become idle.
    pub fn resize(&self, min: usize, max: usize) {
        let max = max.max(1);
        self.shared.threads.size.set(min, max);
        if self.is_at_home() {
            self.show_size();
            self.let_surplus_go();
            self.show();
            self.shared.threads.manager.wake();
        }
    }

    /// Tells the other workers of a cluster how many threads there may be.
    pub(super) fn show_size(&self) {
        if let Some(place) = self.shared.place.get() {
            place.resize(u32::try_from(self.shared.shown_size()).unwrap_or(u32::MAX));
        }
    }

    /// Asks as many threads to leave as there are beyond the limit.
    pub(super) fn let_surplus_go(&self) {
        let threads = &self.shared.threads;
        if !self.is_at_home() {
            return;
        }
        let leaving = threads.leaving();
        let surplus = self
            .shared
            .threads
            .spawned
            .load(Ordering::Acquire)
            .saturating_sub(leaving + threads.size.limit());
        if surplus > 0 {
            threads.ask_to_leave(surplus);
            self.shared.backlog.wake(surplus);
            self.shared.wake_poller();
        }
    }

    /// Whether the calling thread is one too many, and has been asked to leave: even though there are requests.
    pub(super) fn is_surplus(&self) -> bool {
        let threads = &self.shared.threads;
        threads.leaving() > 0
            && threads.spawned.load(Ordering::Acquire) > threads.size.limit()
            && threads.take_trim()
    }
}
