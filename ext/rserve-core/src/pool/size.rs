//! How many pool threads there may be. The bounds may change while the server runs, and go up by one for each request
//! that only waits for something (Puma 8, `max_io_threads`) for as long as it is served, and for each that hangs.

use std::sync::{Mutex, PoisonError};

use crate::config::options::Options;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub(crate) struct PoolSize {
    min: AtomicUsize,
    /// `own`, and those that take the place of threads whose requests hang.
    max: AtomicUsize,
    own: AtomicUsize,
    hung: AtomicUsize,
    changing: Mutex<()>,
    io_bound: AtomicUsize,
    /// How many of them get another thread in their place.
    relieved: usize,
}

impl PoolSize {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            min: AtomicUsize::new(options.min_threads),
            max: AtomicUsize::new(options.max_threads),
            own: AtomicUsize::new(options.max_threads),
            hung: AtomicUsize::new(0),
            changing: Mutex::default(),
            io_bound: AtomicUsize::new(0),
            relieved: options.max_io_threads,
        }
    }

    pub(crate) fn min(&self) -> usize {
        self.min.load(Ordering::Acquire)
    }

    /// Of threads that compute, as the operator wants it.
    pub(crate) fn max(&self) -> usize {
        self.own.load(Ordering::Acquire)
    }

    /// Of threads that compute or hang.
    pub(crate) fn max_with_hung(&self) -> usize {
        self.max.load(Ordering::Acquire)
    }

    /// Threads whose requests the server has answered in the application's place.
    pub(crate) fn hung(&self) -> usize {
        self.hung.load(Ordering::Acquire)
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
        self.max_with_hung() + self.beyond()
    }

    /// Between `min` and `max` threads from now on.
    pub(crate) fn set(&self, min: usize, max: usize) {
        self.change(|| {
            self.min.store(min.min(max), Ordering::Release);
            self.own.store(max, Ordering::Release);
        });
    }

    /// One request more only waits.
    pub(crate) fn one_io_bound_more(&self) {
        self.io_bound.fetch_add(1, Ordering::AcqRel);
    }

    /// See [`PoolSize::one_io_bound_more`].
    pub(crate) fn one_io_bound_less(&self) {
        self.io_bound.fetch_sub(1, Ordering::AcqRel);
    }

    /// One request more hangs. Others take the place of so many threads as there may be by themselves, and no more.
    pub(crate) fn one_hung_more(&self) {
        self.change(|| {
            self.hung.fetch_add(1, Ordering::AcqRel);
        });
    }

    /// See [`PoolSize::one_hung_more`].
    pub(crate) fn one_hung_less(&self) {
        self.change(|| {
            self.hung.fetch_sub(1, Ordering::AcqRel);
        });
    }

    fn change(&self, change: impl FnOnce()) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        change();
        let own = self.max();
        self.max.store(own + self.hung().min(own), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_replaced_as_long_as_they_are_not_too_many() {
        let size = PoolSize::new(&Options { max_threads: 2, ..Options::default() });
        let limits: Vec<_> = (0..3)
            .map(|_| {
                size.one_hung_more();
                (size.max(), size.limit())
            })
            .collect();
        assert_eq!(limits, [(2, 3), (2, 4), (2, 4)]);
        size.set(0, 5);
        assert_eq!((size.max(), size.limit()), (5, 8));
        (0..3).for_each(|_| size.one_hung_less());
        assert_eq!((size.max(), size.limit()), (5, 5));
    }
}
