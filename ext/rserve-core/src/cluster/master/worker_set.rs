//! The workers that exist or were asked for.

use std::time::Instant;

use super::retirement::Limits;
use super::{CullingStrategy, WorkerHandle};
use crate::cluster::{Index, Phase, Pid, PlaceId};

/// One worker at each index, and at most one more, whose index another one has.
#[derive(Debug, Default)]
pub(super) struct WorkerSet {
    /// Ordered by index; no index occurs twice.
    workers: Vec<WorkerHandle>,
    /// The successor of the one at its index, until it has that index; then the one that it has replaced, which stops.
    extra: Option<WorkerHandle>,
    /// They have no index any more: whoever is to be the mold, or is, or was.
    aside: Vec<WorkerHandle>,
}

impl WorkerSet {
    /// How many indexes have a worker.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether no process is left, nor asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.extra.is_none() && self.aside.is_empty()
    }

    /// The one at each index.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, WorkerHandle> {
        self.workers.iter()
    }

    /// The one at each index, the one more, and those without an index.
    pub(super) fn all(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.workers.iter().chain(&self.extra).chain(&self.aside)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut WorkerHandle> {
        self.workers.iter_mut().chain(&mut self.extra).chain(&mut self.aside)
    }

    /// Those without an index.
    pub(super) fn aside(&self) -> &[WorkerHandle] {
        &self.aside
    }

    pub(super) fn at(&self, index: Index) -> Option<&WorkerHandle> {
        self.workers.iter().find(|worker| worker.index() == index)
    }

    pub(super) fn at_mut(&mut self, index: Index) -> Option<&mut WorkerHandle> {
        self.workers.iter_mut().find(|worker| worker.index() == index)
    }

    pub(super) fn by_pid_mut(&mut self, pid: Pid) -> Option<&mut WorkerHandle> {
        self.all_mut().find(|worker| worker.pid() == Some(pid))
    }

    /// Process `pid` of this index; else the one at this index that was asked for, and of which nobody has told yet
    /// which process it is.
    pub(super) fn of_mut(&mut self, index: Index, pid: Pid) -> Option<&mut WorkerHandle> {
        let known = self.all().any(|worker| worker.pid() == Some(pid));
        let wanted = if known { Some(pid) } else { None };
        self.all_mut().find(|worker| worker.index() == index && worker.pid() == wanted)
    }

    // ---- one more ---------------------------------------------------------------------------------------------------

    /// Whether there is one more than there are indexes.
    pub(super) fn has_extra(&self) -> bool {
        self.extra.is_some()
    }

    /// The one that is to replace the worker at its index.
    pub(super) fn successor(&self) -> Option<&WorkerHandle> {
        self.extra.as_ref().filter(|worker| !worker.is_stopping())
    }

    /// The successor has the index from now on; the worker that had it is the one more. `true` if there was one.
    pub(super) fn succeed(&mut self) -> bool {
        let Some(successor) = self.extra.take_if(|worker| !worker.is_stopping()) else { return false };
        match self.at_mut(successor.index()) {
            Some(former) => self.extra = Some(std::mem::replace(former, successor)),
            None => self.insert(successor),
        }
        true
    }

    /// The one that was replaced just now has no index from now on, and does not stop.
    pub(super) fn set_aside(&mut self, now: Instant) {
        if let Some(mut former) = self.extra.take() {
            former.set_aside(now);
            self.aside.push(former);
        }
    }

    // ---- coming and going -------------------------------------------------------------------------------------------

    /// A worker is asked for at an index that nobody has; or (`beside`) the successor of who has it.
    pub(super) fn request(
        &mut self,
        index: Index,
        phase: Phase,
        limits: Limits,
        beside: bool,
        now: Instant,
    ) -> PlaceId {
        let place = self.free_place(index);
        let worker = WorkerHandle::requested(index, place, phase, limits, now);
        if beside {
            debug_assert!(self.extra.is_none(), "there is one more already");
            self.extra = Some(worker);
        } else {
            self.insert(worker);
        }
        place
    }

    fn insert(&mut self, worker: WorkerHandle) {
        let index = worker.index();
        debug_assert!(self.at(index).is_none(), "worker {index} exists");
        let at = self.workers.partition_point(|worker| worker.index() < index);
        self.workers.insert(at, worker);
    }

    /// The place of this index, unless another worker has it: then the first that is free.
    fn free_place(&self, index: Index) -> PlaceId {
        let is_free = |place: &PlaceId| self.all().all(|worker| worker.place() != *place);
        std::iter::once(index.into()).chain((0..).map(PlaceId)).find(is_free).unwrap_or(index.into())
    }

    pub(super) fn remove(&mut self, pid: Pid) -> Option<WorkerHandle> {
        if let Some(extra) = self.extra.take_if(|worker| worker.pid() == Some(pid)) {
            return Some(extra);
        }
        let is_it = |worker: &WorkerHandle| worker.pid() == Some(pid);
        if let Some(at) = self.aside.iter().position(is_it) {
            return Some(self.aside.remove(at));
        }
        let at = self.workers.iter().position(is_it)?;
        Some(self.workers.remove(at))
    }

    /// Forgets a request that came to nothing.
    pub(super) fn remove_requested(&mut self, index: Index) {
        self.retain(|worker| worker.index() != index || !worker.is_requested());
    }

    /// Forgets all requests that came to nothing.
    pub(super) fn remove_all_requested(&mut self) {
        self.retain(|worker| !worker.is_requested());
    }

    fn retain(&mut self, mut keeps: impl FnMut(&WorkerHandle) -> bool) {
        self.extra.take_if(|worker| !keeps(worker));
        self.workers.retain(keeps);
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
