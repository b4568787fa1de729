//! How many pool threads there may be. The bounds may change while the server runs, and go up by one for each request
//! that only waits for something (Puma 8, `max_io_threads`) for as long as it is served.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::options::Options;

pub(crate) struct PoolSize {
    min: AtomicUsize,
    max: AtomicUsize,
    io_bound: AtomicUsize,
    /// How many of them get another thread in their place.
    relieved: usize,
}

impl PoolSize {
    pub(crate) fn new(options: &Options) -> Self {
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

    /// Between `min` and `max` threads from now on.
    pub(crate) fn set(&self, min: usize, max: usize) {
        self.min.store(min.min(max), Ordering::Release);
        self.max.store(max, Ordering::Release);
    }

    /// One request more only waits.
    pub(crate) fn one_io_bound_more(&self) {
        self.io_bound.fetch_add(1, Ordering::AcqRel);
    }

    /// See [`PoolSize::one_io_bound_more`].
    pub(crate) fn one_io_bound_less(&self) {
        self.io_bound.fetch_sub(1, Ordering::AcqRel);
    }
}
