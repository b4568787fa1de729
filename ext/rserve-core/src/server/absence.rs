//! Threads that let go of the GVL in the middle of a request, where Ruby tells: who serves meanwhile, and who stands
//! back when they want to go on. Why, see [`crate::pool::staffing`].

use std::sync::atomic::Ordering;

use super::Server;
use crate::pool::Seat;
use crate::pool::staffing;
use crate::tuning::{LONGEST_ABSENCE, LONGEST_STRETCH};

/// In what [`Server::thread_suspended`] gives: how long the absence lasts says nothing about those to come.
const SHARED: u64 = 1;

impl Server {
    /// A thread lets go of the GVL in the middle of a request. Gives what [`Server::thread_back`] is to be given, never 0:
    /// when, in nanoseconds of the server's time, but for the last bit. May be called from anywhere.
    pub fn thread_suspended(&self) -> u64 {
        if !self.is_at_home() {
            return SHARED;
        }
        let absences = &self.shared.absences;
        absences.away.fetch_add(1, Ordering::SeqCst);
        let count = absences.count.fetch_add(1, Ordering::Relaxed);
        let now = self.shared.deadlines.nanos();
        let alone = !self.is_computing();
        if alone {
            self.note_stretch(now);
        }
        let relieved = alone
            && !self.shared.polling.is_led()
            && staffing::is_worth_it(
                absences.usual.load(Ordering::Relaxed),
                absences.usual_stretch.load(Ordering::Relaxed),
            )
            && !count.is_multiple_of(absences.probe_every.load(Ordering::Relaxed));
        if relieved {
            self.relieve();
        }
        // With another thread on the processor even a look at a file takes long.
        let shared = if alone && !relieved { 0 } else { SHARED };
        (now & !SHARED).max(SHARED << 1) | shared
    }

    fn note_stretch(&self, now: u64) {
        let absences = &self.shared.absences;
        let stretch =
            now.saturating_sub(absences.computes_since.load(Ordering::Relaxed)).min(LONGEST_STRETCH);
        let before = absences.usual_stretch.load(Ordering::Relaxed);
        absences.usual_stretch.store(staffing::usual(before, stretch), Ordering::Relaxed);
    }

    /// A thread of which [`Server::thread_suspended`] told wants the GVL back, or has it. May be called from anywhere.
    pub fn thread_back(&self, left: u64) {
        if !self.is_at_home() {
            return;
        }
        let absences = &self.shared.absences;
        let now = self.shared.deadlines.nanos();
        if !self.is_computing() {
            absences.computes_since.store(now, Ordering::Relaxed);
        }
        absences.away.fetch_sub(1, Ordering::SeqCst);
        if left & SHARED != 0 {
            return;
        }
        let absence = now.saturating_sub(left).min(LONGEST_ABSENCE);
        let every = absences.probe_every.load(Ordering::Relaxed);
        absences.probe_every.store(staffing::probe_every(every, absence), Ordering::Relaxed);
        // Two that come back at once may lose one of the two: it is an average.
        let before = absences.usual.load(Ordering::Relaxed);
        absences.usual.store(staffing::usual(before, absence), Ordering::Relaxed);
    }

    /// A thread that serves has the GVL, or wants it; only where absences are told.
    pub(crate) fn is_computing(&self) -> bool {
        self.computing() > 0
    }

    /// How many do.
    pub(crate) fn computing(&self) -> usize {
        self.shared.computing()
    }

    /// Whether the calling thread, which does not serve, leaves what there is to one that does.
    pub(super) fn stands_back(&self, seat: &Seat) -> bool {
        self.is_computing() && !self.shared.backlog.competes(seat)
    }

    /// All threads that serve are away: calls another one.
    fn relieve(&self) {
        let threads = &self.shared.threads;
        if self.shared.backlog.parked() > 0 {
            self.shared.backlog.wake(1);
        } else if self.shared.backlog.len() > 0
            && threads.spawned.load(Ordering::Acquire) < threads.size.limit()
        {
            threads.want_one();
        }
    }
}
