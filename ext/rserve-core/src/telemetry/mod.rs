//! What a server tells its operator: figures, durations and what each thread does, in memory that all of its processes
//! share, and others can map that never were its children. A process that answers operators only reads it: nothing that
//! blocks the server keeps it from answering.
//!
//! Made before the first fork, and only where an operator has asked for it; else nothing on a request's way does more than
//! see that it is not there. Every figure is a word ([`layout`]) that is written without a lock. What counts requests
//! outlives the worker that counted, what shows a process is wiped for its successor.
//!
//! Times are milliseconds of a clock that all processes of a system share ([`now`]); 0 is never.

mod histogram;
mod kinds;
mod layout;
mod seat;
mod series;
mod server;
mod snapshot;
pub mod upstream;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cluster::{Index, Phase, PlaceId};
use crate::sys::{self, SharedFile};

pub use histogram::{Histogram, OF_PARTS, OF_REQUESTS};
pub use kinds::{
    ConnectionState, Part, RestartResult, ServerPhase, Shed, ThreadState, Timeout, WorkerExit, WorkerState,
};
pub use seat::{RequestSnapshot, Seat, Spent, ThreadSnapshot};
pub use series::Labels;
pub use server::ServerSection;
pub use snapshot::{ServerSnapshot, Snapshot, WorkerSnapshot};
pub use worker::Worker;

const WORDS: NonZeroUsize = NonZeroUsize::new(layout::WORDS).expect("it is not empty");

/// Milliseconds, as of the kernel's last tick.
pub fn now() -> u64 {
    sys::nanoseconds(false) / 1_000_000
}

/// Nanoseconds of the same clock.
pub(crate) fn exactly_now() -> u64 {
    sys::nanoseconds(true)
}

/// See the module. Clones are the same memory, and so are those of every process that was forked after it was made.
#[derive(Clone, Debug)]
pub struct Telemetry {
    words: Arc<SharedFile>,
}

impl Telemetry {
    /// Workers at higher places than this tell nothing.
    pub const PLACES: u32 = layout::PLACES as u32;

    /// Empty; to be made by the master before its first fork.
    ///
    /// # Errors
    ///
    /// No memory, or no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let words = SharedFile::zeroed(c"rserve telemetry", WORDS)?;
        words[layout::server::MAGIC].store(layout::MAGIC, Ordering::Relaxed);
        Ok(Self { words: Arc::new(words) })
    }

    /// The one whose descriptor ([`AsFd`]) was inherited by a program that was executed.
    ///
    /// # Errors
    ///
    /// It is something else, or of another version of this program.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let words = SharedFile::open(file, WORDS)?;
        if words[layout::server::MAGIC].load(Ordering::Relaxed) != layout::MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { words: Arc::new(words) })
    }

    /// The part that the master, or the process of single mode, writes.
    pub fn server(&self) -> ServerSection {
        ServerSection::new(self.clone())
    }

    /// The place is wiped for a worker that is about to come.
    pub fn prepare(&self, id: PlaceId, index: Index, phase: Phase) {
        if let Some(place) = self.wipe(id) {
            let set = |word: usize, value: u64| self.words[place + word].store(value, Ordering::Relaxed);
            set(layout::worker::INDEX, u64::from(index.0));
            set(layout::worker::PHASE, u64::from(phase.0));
            set(layout::worker::STARTED, now());
            set(layout::worker::HEARTBEAT, now());
            set(layout::worker::STATE, WorkerState::Booting as u64);
            self.words[layout::server::USED].fetch_max(u64::from(id.0) + 1, Ordering::Relaxed);
        }
    }

    /// The worker at this place belongs to this phase now (a refork takes worker 0 along).
    pub fn set_phase(&self, id: PlaceId, phase: Phase) {
        if let Some(place) = place(id) {
            self.words[place + layout::worker::PHASE].store(u64::from(phase.0), Ordering::Relaxed);
        }
    }

    /// Wipes the place of a worker that is no more; what it has counted stays.
    pub fn vacate(&self, id: PlaceId) {
        self.wipe(id);
    }

    fn wipe(&self, id: PlaceId) -> Option<usize> {
        use layout::worker::{CARRIED, FIGURES_AT, LASTING, PID, SEATS_AT, SEATS_USED, TENANCY};
        let place = place(id)?;
        let word = |word: usize| &self.words[place + word];
        word(TENANCY).fetch_add(1, Ordering::Relaxed);
        for figure in 0..layout::FIGURES {
            let last = word(FIGURES_AT + figure).load(Ordering::Relaxed);
            word(CARRIED + figure).fetch_add(last, Ordering::Relaxed);
        }
        (PID..LASTING).for_each(|at| word(at).store(0, Ordering::Relaxed));
        let seats = word(SEATS_USED).swap(0, Ordering::Relaxed) as usize;
        for seat in 0..seats.min(layout::SEATS) {
            word(SEATS_AT + seat * layout::seat::WORDS).store(0, Ordering::Relaxed);
        }
        Some(place)
    }

    /// The calling process is the worker at this place, which was prepared; `None` when there is no such place.
    pub fn worker(&self, id: PlaceId) -> Option<Worker> {
        Some(Worker::new(self, place(id)?))
    }

    /// All of it at this moment.
    pub fn read(&self) -> Snapshot {
        Snapshot::read(self)
    }
}

impl AsFd for Telemetry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.words.as_fd()
    }
}

fn place(id: PlaceId) -> Option<usize> {
    (id.0 < Telemetry::PLACES).then(|| layout::place(id.0 as usize))
}

#[cfg(test)]
mod tests;
