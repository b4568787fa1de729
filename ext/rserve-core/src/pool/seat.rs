//! The place of one Ruby thread.

use std::time::Duration;

use super::spending::Spending;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sys::Parking;
use crate::telemetry::{self, Spent, ThreadState};

/// Where one Ruby thread waits.
#[derive(Debug, Default)]
pub struct Seat {
    parking: Parking,
    /// Ruby wants the thread back (a signal, `Thread#raise`, `#kill`).
    interrupted: AtomicBool,
    /// The thread is to serve even though another one computes; 1 more than the backlog's count of rivals then,
    /// else 0.
    pub(super) competing: AtomicUsize,
    /// The thread was called to compete and has not come yet.
    pub(super) called: AtomicBool,
    /// The request that the thread serves is a large one ([`super::large`]).
    pub(super) large: AtomicBool,
    /// Where operators see what the thread does.
    row: Option<telemetry::Seat>,
    /// For the access log, without a row.
    spending: Option<Spending>,
}

impl Seat {
    /// Of a thread whose doings operators see in `row`, and whose requests have a line each if they are `logged`.
    pub(crate) fn told_in(row: Option<telemetry::Seat>, logged: bool) -> Self {
        let spending = (logged && row.is_none()).then(Spending::default);
        Self { row, spending, ..Self::default() }
    }

    /// Ruby tells that the thread goes on to another state.
    pub fn change(&self, state: ThreadState) {
        if let Some(row) = &self.row {
            row.change(state);
        }
        if let Some(spending) = &self.spending {
            spending.change(state);
        }
    }

    /// The thread begins a request.
    pub(crate) fn begin(&self) {
        if let Some(spending) = &self.spending {
            spending.begin();
        }
    }

    /// How the thread has spent its time on the request that it has, if anybody wants to know; by the thread itself.
    pub(crate) fn spent(&self) -> Option<Spent> {
        let row = self.row.as_ref().map(telemetry::Seat::spent);
        row.or_else(|| self.spending.as_ref().map(Spending::spent))
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
