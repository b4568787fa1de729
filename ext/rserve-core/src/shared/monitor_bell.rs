//! Where the monitor sleeps, and how it is woken.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sys::Parking;

#[derive(Default)]
pub(crate) struct MonitorBell {
    parking: Parking,
    /// It sleeps until it is woken.
    parked: AtomicBool,
    /// It sleeps for more than a tick.
    resting: AtomicBool,
    /// There is a monitor, which looks again soon.
    looking: AtomicBool,
}

impl MonitorBell {
    /// A leader stopped polling, or does not see what is to be done: if the monitor sleeps, it has to look after things
    /// again.
    pub(crate) fn rouse(&self) {
        // The caller has made something to do and then looks at the flags; the monitor sets its flags and then looks for
        // something to do: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Something is to be done within a tick.
    pub(crate) fn hurry(&self) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) || self.resting.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        self.parking.wake();
    }

    /// The monitor is about to sleep for more than a tick, or no more than one; it looks again after this whether there
    /// is something to do, as somebody may not have seen it.
    pub(crate) fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Sleeps for `pause`, or until it is hurried.
    pub(crate) fn rest(&self, pause: Duration) {
        self.parking.park(Some(pause));
        self.resting.store(false, Ordering::SeqCst);
    }

    /// There is a monitor from now on, or none any more.
    pub(crate) fn set_looking(&self, looking: bool) {
        self.looking.store(looking, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Whether the monitor sees within [`LONGEST_TICK`](crate::tuning::LONGEST_TICK) what the caller has just changed.
    pub(crate) fn is_looking(&self) -> bool {
        fence(Ordering::SeqCst);
        self.looking.load(Ordering::SeqCst)
    }

    /// Sleeps until it is woken, for `limit` at most, if there is nothing to do: as `is_idle` finds after everybody can see
    /// that it sleeps.
    pub(crate) fn park(&self, limit: Option<Duration>, is_idle: impl FnOnce() -> bool) {
        self.parked.store(true, Ordering::SeqCst);
        self.set_looking(false);
        if is_idle() {
            self.parking.park(limit);
        }
        self.parked.store(false, Ordering::SeqCst);
        self.set_looking(true);
    }
}
