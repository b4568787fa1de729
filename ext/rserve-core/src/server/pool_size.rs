//! How many pool threads there may be. The bounds may change while the server runs, and go up by one for each request
//! that only waits for something (Puma 8, `max_io_threads`) for as long as it is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Server;
use crate::config::options::Options;

pub(crate) struct PoolSize {
    min: AtomicUsize,
    max: AtomicUsize,
    io_bound: AtomicUsize,
    /// How many of them get another thread in their place.
    relieved: usize,
}

impl PoolSize {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            min: AtomicUsize::new(options.min_threads),
            max: AtomicUsize::new(options.max_threads),
            io_bound: AtomicUsize::new(0),
            relieved: options.max_io_threads,
        }
    }

    pub(crate) fn min(&self) -> usize {
        self.min.load(Ordering::Acquire)
    }

    /// Of threads that compute.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Acquire)
    }

    /// Threads whose requests only wait.
    pub(crate) fn io_bound(&self) -> usize {
        self.io_bound.load(Ordering::Acquire)
    }

    /// Of those the ones that count as no thread.
    pub(crate) fn beyond(&self) -> usize {
        self.io_bound().min(self.relieved)
    }

    /// Of all threads.
    pub(crate) fn limit(&self) -> usize {
        self.max() + self.beyond()
    }
}

/// A request that only waits for something, until this is dropped.
pub struct IoBound(Arc<Server>);

impl Drop for IoBound {
    fn drop(&mut self) {
        self.0.size.io_bound.fetch_sub(1, Ordering::AcqRel);
        self.0.shed();
    }
}

impl Server {
    /// The request that the caller serves only waits for something from now on: another thread may take its place,
    /// unless there are too many such requests.
    pub fn mark_io_bound(self: &Arc<Self>) -> IoBound {
        self.size.io_bound.fetch_add(1, Ordering::AcqRel);
        if self.is_at_home() && self.backlog.len() > 0 {
            self.monitor.hurry();
        }
        IoBound(Arc::clone(self))
    }

    /// Has between `min` and `max` (at least 1) threads from now on; those beyond leave as they become idle.
    pub fn resize(&self, min: usize, max: usize) {
        let max = max.max(1);
        self.size.min.store(min.min(max), Ordering::Release);
        self.size.max.store(max, Ordering::Release);
        if self.is_at_home() {
            if let Some(place) = self.place.get() {
                place.resize(u32::try_from(max).unwrap_or(u32::MAX));
            }
            self.shed();
            self.manager.wake();
        }
    }

    /// Asks as many threads to leave as there are beyond the limit.
    fn shed(&self) {
        if !self.is_at_home() {
            return;
        }
        let leaving = self.trim_wanted.load(Ordering::Acquire);
        let surplus = self.spawned.load(Ordering::Acquire).saturating_sub(leaving + self.size.limit());
        if surplus > 0 {
            self.trim_wanted.fetch_add(surplus, Ordering::AcqRel);
            self.backlog.wake(surplus);
            let _ = self.waker.wake();
        }
    }

    /// Whether the calling thread is one too many, and has been asked to leave: even though there are requests.
    pub(super) fn is_shed(&self) -> bool {
        self.trim_wanted.load(Ordering::Relaxed) > 0
            && self.spawned.load(Ordering::Acquire) > self.size.limit()
            && self.take_trim()
    }
}
