//! The place of one Ruby thread.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sys::Parking;
use crate::telemetry;

/// Where one Ruby thread waits.
#[derive(Debug, Default)]
pub struct Seat {
    parking: Parking,
    /// Ruby wants the thread back (a signal, `Thread#raise`, `#kill`).
    interrupted: AtomicBool,
    /// The thread is to serve even though another one computes; 1 more than the backlog's count of rivals then,
    /// else 0.
    pub(super) competing: AtomicUsize,
    /// The request that the thread serves is a large one ([`super::large`]).
    pub(super) large: AtomicBool,
    /// Where operators see what the thread does.
    row: Option<telemetry::Seat>,
}

impl Seat {
    /// Of a thread whose doings operators see in `row`.
    pub(crate) fn told_in(row: Option<telemetry::Seat>) -> Self {
        Self { row, ..Self::default() }
    }

    /// Where operators see what the thread does, if they want to.
    pub fn row(&self) -> Option<&telemetry::Seat> {
        self.row.as_ref()
    }

    /// See [`Parking::park`].
    pub(crate) fn park(&self, limit: Option<Duration>) {
        self.parking.park(limit);
    }

    pub(crate) fn wake(&self) {
        self.parking.wake();
    }

    pub(crate) fn rest(&self) {
        self.competing.store(0, Ordering::Release);
    }

    /// The request that the thread serves is a large one: nobody stands back for it, and whether it has the GVL need
    /// not be told.
    pub fn serves_large(&self) -> bool {
        self.large.load(Ordering::Acquire)
    }

    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn take_interrupt(&self) -> bool {
        self.interrupted.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}
