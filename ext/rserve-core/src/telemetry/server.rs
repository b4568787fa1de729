//! What the master says of the whole, or in single mode the one process.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::layout::server as at;
use super::{RestartResult, ServerPhase, Telemetry, WorkerExit, now};
use crate::cluster::Phase;

/// See the module.
#[derive(Clone, Debug)]
pub struct ServerSection {
    telemetry: Telemetry,
}

impl ServerSection {
    pub(super) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry }
    }

    fn set(&self, word: usize, value: u64) {
        self.telemetry.words[word].store(value, Ordering::Relaxed);
    }

    fn count(&self, word: usize) {
        self.telemetry.words[word].fetch_add(1, Ordering::Relaxed);
    }

    /// The calling process begins, as a cluster's master or on its own.
    pub fn begin(&self, cluster: bool, threads_told: bool) {
        self.set(at::PID, u64::from(std::process::id()));
        self.set(at::CLUSTER, u64::from(cluster));
        self.set(at::THREADS_TOLD, u64::from(threads_told));
        self.set(at::STARTED, now());
        self.beat();
    }

    /// Its loop has made a turn.
    pub fn beat(&self) {
        self.set(at::HEARTBEAT, now());
    }

    /// From now on the server is in this phase of its life.
    pub fn enter(&self, phase: ServerPhase) {
        self.set(at::PHASE, phase as u64);
    }

    /// A worker serves: it runs, unless it has gone further already.
    pub fn has_booted(&self) {
        let (from, to) = (ServerPhase::Booting as u64, ServerPhase::Running as u64);
        let phase = &self.telemetry.words[at::PHASE];
        let _ = phase.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// So many workers are wanted.
    pub fn set_workers(&self, wanted: u32) {
        self.set(at::WORKERS, u64::from(wanted));
    }

    /// The phase that new workers belong to.
    pub fn set_worker_phase(&self, phase: Phase) {
        self.set(at::WORKER_PHASE, u64::from(phase.0));
    }

    /// How long a worker, or the master's loop, may be silent before it counts as stuck.
    pub fn set_worker_timeout(&self, timeout: Duration) {
        self.set(at::WORKER_TIMEOUT, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }

    /// Which of a keeper's generations this is.
    pub fn set_generation(&self, generation: u64) {
        self.set(at::GENERATION, generation);
    }

    /// So many restarts are over, in the order of [`RestartResult::ALL`].
    pub fn set_restarts(&self, results: &[u64; RestartResult::COUNT]) {
        (at::RESTARTS..).zip(results).for_each(|(word, count)| self.set(word, *count));
    }

    /// A restart is over.
    pub fn count_restart(&self, result: RestartResult) {
        self.count(at::RESTARTS + result as usize);
    }

    /// So many workers have ended, in the order of [`WorkerExit::ALL`].
    pub fn set_exits(&self, exits: &[u64; WorkerExit::COUNT]) {
        (at::EXITS..).zip(exits).for_each(|(word, exits)| self.set(word, *exits));
    }
}
