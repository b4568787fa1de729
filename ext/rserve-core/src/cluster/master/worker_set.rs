//! The workers that exist or were asked for.

use std::time::Instant;

use super::{CullingStrategy, WorkerHandle};
use crate::cluster::{Index, Phase, Pid};

/// Ordered by index; no index occurs twice.
#[derive(Debug, Default)]
pub(super) struct WorkerSet {
    workers: Vec<WorkerHandle>,
}

impl WorkerSet {
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, WorkerHandle> {
        self.workers.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, WorkerHandle> {
        self.workers.iter_mut()
    }

    pub(super) fn request(&mut self, index: Index, phase: Phase, now: Instant) {
        let at = self.workers.partition_point(|worker| worker.index() < index);
        debug_assert!(self.at(index).is_none(), "worker {index} exists");
        self.workers.insert(at, WorkerHandle::requested(index, phase, now));
    }

    pub(super) fn at(&self, index: Index) -> Option<&WorkerHandle> {
        self.workers.iter().find(|worker| worker.index() == index)
    }

    pub(super) fn at_mut(&mut self, index: Index) -> Option<&mut WorkerHandle> {
        self.workers.iter_mut().find(|worker| worker.index() == index)
    }

    pub(super) fn by_pid_mut(&mut self, pid: Pid) -> Option<&mut WorkerHandle> {
        self.workers.iter_mut().find(|worker| worker.pid() == Some(pid))
    }

    pub(super) fn remove(&mut self, pid: Pid) -> Option<WorkerHandle> {
        let at = self.workers.iter().position(|worker| worker.pid() == Some(pid))?;
        Some(self.workers.remove(at))
    }

    /// Forgets a request that came to nothing.
    pub(super) fn remove_requested(&mut self, index: Index) {
        self.workers.retain(|worker| worker.index() != index || !worker.is_requested());
    }

    /// Forgets all requests that came to nothing.
    pub(super) fn remove_all_requested(&mut self) {
        self.workers.retain(|worker| !worker.is_requested());
    }

    /// The indexes nobody has, smallest first, for ever.
    pub(super) fn free_indexes(&self) -> impl Iterator<Item = Index> + '_ {
        (0..).map(Index).filter(|index| self.at(*index).is_none())
    }

    /// Up to `count` workers to end, by `strategy`; never worker 0 when it is the mold.
    pub(super) fn to_cull(&self, count: usize, strategy: CullingStrategy, mold: bool) -> Vec<Index> {
        let mut by_age: Vec<&WorkerHandle> = self
            .workers
            .iter()
            .filter(|worker| !worker.is_stopping())
            .filter(|worker| !mold || worker.index() != Index::MOLD)
            .collect();
        by_age.sort_by_key(|worker| (worker.started_at(), worker.index()));
        if strategy == CullingStrategy::Youngest {
            by_age.reverse();
        }
        by_age.iter().take(count).map(|worker| worker.index()).collect()
    }
}
