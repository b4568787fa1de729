//! Threads that let go of the GVL in the middle of a request, where Ruby tells: who serves meanwhile, and who stands
//! back when they want to go on. Why, see [`crate::thread_pool`].

use std::sync::atomic::Ordering;

use super::Server;
use crate::backlog::Seat;
use crate::thread_pool::ABSENCE;

impl Server {
    /// A thread lets go of the GVL in the middle of a request. May be called from anywhere.
    pub fn thread_suspended(&self) {
        if !self.is_at_home() {
            return;
        }
        self.away.fetch_add(1, Ordering::SeqCst);
        if !self.is_computing() && !self.leading.load(Ordering::SeqCst) && self.has_relief() {
            self.monitor.arm(ABSENCE);
        }
    }

    /// A thread of which [`Server::thread_suspended`] told wants the GVL back, or has it. May be called from anywhere.
    pub fn thread_back(&self) {
        if !self.is_at_home() {
            return;
        }
        self.away.fetch_sub(1, Ordering::SeqCst);
        self.monitor.disarm();
    }

    /// A thread that serves has the GVL, or wants it; only where absences are told.
    pub(crate) fn is_computing(&self) -> bool {
        self.options.suspensions_told && self.busy.load(Ordering::SeqCst) > self.away.load(Ordering::SeqCst)
    }

    /// Whether the calling thread, which does not serve, leaves what there is to one that does.
    pub(super) fn stands_back(&self, seat: &Seat) -> bool {
        self.is_computing() && !seat.competes()
    }

    fn has_relief(&self) -> bool {
        self.backlog.parked() > 0
            || (self.backlog.len() > 0 && self.spawned.load(Ordering::Acquire) < self.options.max_threads)
    }

    /// All threads that serve have been away for a while.
    pub(crate) fn relieve(&self) {
        if self.is_computing() || self.leading.load(Ordering::SeqCst) {
            return;
        }
        if self.backlog.parked() > 0 {
            self.backlog.wake(1);
        } else if self.has_relief() {
            self.want_thread();
        }
    }
}
