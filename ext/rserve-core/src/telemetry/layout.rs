//! Which word of the shared memory is what. Every figure is a word of its own, so that a process that dies in the middle
//! of anything leaves nothing half done but the one figure.

use super::histogram;
use super::series;

/// In the first word, so that nobody takes other memory for this.
pub(super) const MAGIC: u64 = 0x7273_6572_7665_0002;

/// Words of the server's own section.
pub(super) const SERVER: usize = 64;

/// Of the server's section.
pub(super) mod server {
    pub(crate) const MAGIC: usize = 0;
    /// Places that were ever used.
    pub(crate) const USED: usize = 1;
    pub(crate) const PID: usize = 2;
    pub(crate) const PHASE: usize = 3;
    pub(crate) const HEARTBEAT: usize = 4;
    pub(crate) const WORKERS: usize = 5;
    pub(crate) const WORKER_PHASE: usize = 6;
    pub(crate) const GENERATION: usize = 7;
    pub(crate) const WORKER_TIMEOUT: usize = 8;
    pub(crate) const STARTED: usize = 9;
    /// 1 in a cluster.
    pub(crate) const CLUSTER: usize = 10;
    /// 1 where Ruby tells of threads that let go of the GVL.
    pub(crate) const THREADS_TOLD: usize = 11;
    /// One word for each result.
    pub(crate) const RESTARTS: usize = 16;
    /// One word for each reason.
    pub(crate) const EXITS: usize = 32;
}

/// Figures of a server that there is room for.
pub(super) const FIGURES: usize = 32;
/// Room for the kinds of one list.
pub(super) const KINDS: usize = 8;
/// Threads of a worker that have a row.
pub(super) const SEATS: usize = 128;

/// Of a worker's place. What follows the figures that a process shows of itself outlives it.
pub(super) mod worker {
    use super::{FIGURES, KINDS, histogram, series};

    /// Counts the processes that have had the place.
    pub(crate) const TENANCY: usize = 0;
    pub(crate) const PID: usize = 1;
    pub(crate) const PHASE: usize = 2;
    pub(crate) const STATE: usize = 3;
    pub(crate) const STARTED: usize = 4;
    pub(crate) const HEARTBEAT: usize = 5;
    pub(crate) const SATURATED: usize = 6;
    /// Of the worker; another one may have the same for as long as one is being replaced.
    pub(crate) const INDEX: usize = 7;
    pub(crate) const FIGURES_AT: usize = 8;
    /// All that are open, where the idle ones would be, as they change most often; and those in each other state.
    pub(crate) const CONNECTIONS: usize = FIGURES_AT + FIGURES;
    /// Up to here the place is wiped for the next one.
    pub(crate) const LASTING: usize = CONNECTIONS + KINDS;
    /// What the figures of earlier processes were in the end.
    pub(crate) const CARRIED: usize = LASTING;
    pub(crate) const SHED: usize = CARRIED + FIGURES;
    pub(crate) const TIMEOUTS: usize = SHED + KINDS;
    /// One histogram for each part of a request.
    pub(crate) const HISTOGRAMS: usize = TIMEOUTS + KINDS;
    pub(crate) const SERIES: usize = HISTOGRAMS + KINDS * histogram::WORDS;
    /// Rows of threads that were ever taken by the process that has the place.
    pub(crate) const SEATS_USED: usize = SERIES + series::WORDS;
    pub(crate) const SEATS_AT: usize = SEATS_USED + 1;
}

/// Of a thread's row.
pub(super) mod seat {
    /// 1 while a thread has it.
    pub(crate) const TAKEN: usize = 0;
    /// Odd while the request is being written.
    pub(crate) const VERSION: usize = 1;
    pub(crate) const STATE: usize = 2;
    /// Nanoseconds: since when it is in this state.
    pub(crate) const SINCE: usize = 3;
    /// Nanoseconds: when its request began; 0 for none.
    pub(crate) const BEGAN: usize = 4;
    pub(crate) const SERVED: usize = 5;
    /// Nanoseconds of this request, one word for each state.
    pub(crate) const SPENT: usize = 6;
    /// Octets of the method, and of the path.
    pub(crate) const METHOD_LEN: usize = 10;
    pub(crate) const PATH_LEN: usize = 11;
    pub(crate) const METHOD: usize = 12;
    pub(crate) const METHOD_WORDS: usize = 2;
    pub(crate) const PATH: usize = METHOD + METHOD_WORDS;
    pub(crate) const PATH_WORDS: usize = 16;
    pub(crate) const WORDS: usize = PATH + PATH_WORDS;
}

/// Words of a place: whole pages, so that workers do not slow each other down.
pub(super) const PLACE: usize = (worker::SEATS_AT + SEATS * seat::WORDS).next_multiple_of(512);

/// Workers that have a place.
pub(super) const PLACES: usize = 256;

/// Of everything; the server's section has a page, too.
pub(super) const WORDS: usize = 512 + PLACES * PLACE;

/// Where the place of a worker begins.
pub(super) const fn place(index: usize) -> usize {
    512 + index * PLACE
}

const _: () = assert!(server::EXITS + super::WorkerExit::COUNT <= SERVER && SERVER <= 512);
const _: () = assert!(super::RestartResult::COUNT <= server::EXITS - server::RESTARTS);
const _: () = assert!(super::ConnectionState::COUNT <= KINDS && super::Shed::COUNT <= KINDS);
const _: () = assert!(super::Timeout::COUNT <= KINDS && super::Part::COUNT <= KINDS);
const _: () = assert!(super::ThreadState::COUNT <= seat::METHOD_LEN - seat::SPENT);
