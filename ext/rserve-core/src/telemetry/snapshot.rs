//! Everything at one moment, as plain data for those who judge it or write it down.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{self, FIGURES, KINDS, server, worker};
use super::{
    ConnectionState, Histogram, Labels, Part, RestartResult, ServerPhase, Shed, Telemetry, ThreadSnapshot,
    Timeout, WorkerExit, WorkerState, exactly_now, now,
};
use super::{histogram, series};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was taken ([`super::now`]).
    pub at: u64,
    /// The whole.
    pub server: ServerSnapshot,
    /// Every worker that there ever was, by place; those that are no more are [`WorkerState::Vacant`], and only what
    /// they have counted is of interest.
    pub workers: Vec<WorkerSnapshot>,
}

/// What the master, or the process of single mode, says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerSnapshot {
    /// Its process; `None` before it has begun.
    pub pid: Option<u32>,
    /// It is a cluster's master.
    pub cluster: bool,
    /// Ruby tells of threads that let go of the GVL.
    pub threads_told: bool,
    /// Where it is in its life.
    pub phase: Option<ServerPhase>,
    /// When it began.
    pub started_at: u64,
    /// When its loop last made a turn.
    pub heartbeat: u64,
    /// How many workers are wanted.
    pub workers_wanted: u64,
    /// The phase that new workers belong to.
    pub worker_phase: u64,
    /// Which of a keeper's generations it is; 0 without a keeper.
    pub generation: u64,
    /// Milliseconds for which a worker, or the master's loop, may be silent.
    pub worker_timeout: u64,
    /// Restarts that are over, in the order of [`RestartResult::ALL`].
    pub restarts: [u64; RestartResult::COUNT],
    /// Workers that have ended, in the order of [`WorkerExit::ALL`].
    pub exits: [u64; WorkerExit::COUNT],
}

/// What a worker says.
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    /// Its number in the cluster; 0 in single mode. Another one may have the same for as long as one is being replaced.
    pub index: u32,
    /// Where it stands in the shared memory.
    pub place: u32,
    /// Its process; `None` before it was forked.
    pub pid: Option<u32>,
    /// The phase that it was forked in.
    pub phase: u64,
    /// Where it is in its life.
    pub state: WorkerState,
    /// When it was asked for.
    pub started_at: u64,
    /// When its Ruby threads last showed that they run.
    pub heartbeat: u64,
    /// Since when all threads have been busy while requests waited; `None` while that is not so.
    pub saturated_since: Option<u64>,
    /// Its figures, in the order of `ServerStats`.
    pub figures: [u64; FIGURES],
    /// What the figures of earlier processes at this place were in the end, all together.
    pub carried: [u64; FIGURES],
    /// Open connections, in the order of [`ConnectionState::ALL`].
    pub connections: [u64; ConnectionState::COUNT],
    /// In the order of [`Shed::ALL`].
    pub shed: [u64; Shed::COUNT],
    /// In the order of [`Timeout::ALL`].
    pub timeouts: [u64; Timeout::COUNT],
    /// Parts of requests, in the order of [`Part::ALL`].
    pub parts: [Histogram; Part::COUNT],
    /// Whole requests.
    pub requests: Vec<(Labels, Histogram)>,
    /// The pool's threads.
    pub threads: Vec<ThreadSnapshot>,
}

impl Snapshot {
    pub(super) fn read(telemetry: &Telemetry) -> Self {
        let used = telemetry.words[server::USED].load(Ordering::Relaxed).min(layout::PLACES as u64);
        let nanoseconds = exactly_now();
        let place = |at: usize| &telemetry.words[layout::place(at)..][..layout::PLACE];
        Self {
            at: now(),
            server: ServerSnapshot::read(&telemetry.words[..layout::SERVER]),
            workers: (0..used as usize)
                .map(|at| WorkerSnapshot::read(at as u32, place(at), nanoseconds))
                .collect(),
        }
    }

    /// Workers that there are.
    pub fn present(&self) -> impl Iterator<Item = &WorkerSnapshot> {
        self.workers.iter().filter(|worker| worker.state != WorkerState::Vacant)
    }

    /// Workers that there are, one for each index: of two, the one that has booted, or the later one.
    pub fn by_index(&self) -> impl Iterator<Item = &WorkerSnapshot> {
        let mut workers = std::collections::BTreeMap::<u32, &WorkerSnapshot>::new();
        let rank = |worker: &WorkerSnapshot| (worker.state != WorkerState::Booting, worker.started_at);
        for worker in self.present() {
            let known = workers.entry(worker.index).or_insert(worker);
            if rank(worker) > rank(known) {
                *known = worker;
            }
        }
        workers.into_values()
    }
}

fn read<const N: usize>(words: &[AtomicU64]) -> [u64; N] {
    std::array::from_fn(|at| words[at].load(Ordering::Relaxed))
}

fn pid(word: u64) -> Option<u32> {
    u32::try_from(word).ok().filter(|pid| *pid > 0)
}

impl ServerSnapshot {
    fn read(words: &[AtomicU64]) -> Self {
        let word = |at: usize| words[at].load(Ordering::Relaxed);
        let pid = pid(word(server::PID));
        Self {
            pid,
            cluster: word(server::CLUSTER) == 1,
            threads_told: word(server::THREADS_TOLD) == 1,
            phase: pid.map(|_| ServerPhase::of_word(word(server::PHASE))),
            started_at: word(server::STARTED),
            heartbeat: word(server::HEARTBEAT),
            workers_wanted: word(server::WORKERS),
            worker_phase: word(server::WORKER_PHASE),
            generation: word(server::GENERATION),
            worker_timeout: word(server::WORKER_TIMEOUT),
            restarts: read(&words[server::RESTARTS..]),
            exits: read(&words[server::EXITS..]),
        }
    }
}

impl WorkerSnapshot {
    fn read(place: u32, words: &[AtomicU64], now: u64) -> Self {
        let word = |at: usize| words[at].load(Ordering::Relaxed);
        // Another process may have taken or left the place meanwhile, so a figure below zero has just been wiped.
        let gauge = |figure: u64| if figure > u64::MAX / 2 { 0 } else { figure };
        let connections: [u64; ConnectionState::COUNT] = read(&words[worker::CONNECTIONS..][..KINDS]);
        let mut connections = connections.map(gauge);
        let busy = connections[1..].iter().sum();
        connections[ConnectionState::Idle as usize] = connections[0].saturating_sub(busy);
        let seats = (word(worker::SEATS_USED) as usize).min(layout::SEATS);
        let rows = words[worker::SEATS_AT..].chunks_exact(layout::seat::WORDS).take(seats).enumerate();
        let since = word(worker::SATURATED);
        Self {
            index: u32::try_from(word(worker::INDEX)).unwrap_or(u32::MAX),
            place,
            pid: pid(word(worker::PID)),
            phase: word(worker::PHASE),
            state: WorkerState::of_word(word(worker::STATE)),
            started_at: word(worker::STARTED),
            heartbeat: word(worker::HEARTBEAT),
            saturated_since: (since > 0).then_some(since),
            figures: read(&words[worker::FIGURES_AT..]),
            carried: read(&words[worker::CARRIED..]),
            connections,
            shed: read(&words[worker::SHED..]),
            timeouts: read(&words[worker::TIMEOUTS..]),
            parts: std::array::from_fn(|part| {
                Histogram::read(&words[worker::HISTOGRAMS + part * histogram::WORDS..][..histogram::WORDS])
            }),
            requests: series::read(&words[worker::SERIES..worker::SEATS_USED]),
            threads: rows.filter_map(|(seat, row)| ThreadSnapshot::read(seat, row, now)).collect(),
        }
    }
}
