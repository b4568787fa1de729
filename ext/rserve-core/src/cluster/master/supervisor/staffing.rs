//! What to do about the state of the cluster, in order of urgency.

use std::time::Instant;

use super::super::mold::Mold;
use super::super::worker_handle::Stage;
use super::super::{Effect, LifecycleEvent, LogLine, Signal, SpawnVia, WorkerHandle};
use super::{Ending, Rolling, Supervisor};
use crate::cluster::Index;

impl Supervisor {
    pub(super) fn stop_if_all_are_idle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let all_idle = self.workers.iter().all(|worker| worker.idle && worker.is_serving());
        if all_idle && self.has_full_strength() {
            effects.push(Effect::Log(LogLine::AllWorkersIdle));
            self.begin_ending(Ending::Stop, now, effects);
        }
    }

    /// Kills what did not boot, ping or exit in time; repeats what was not heard.
    pub(super) fn end_overdue(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let overdue: Vec<(Index, Stage)> = self
            .workers
            .all()
            .filter(|worker| self.deadline_of(worker) <= now)
            .map(|worker| (worker.index(), worker.stage))
            .collect();
        for (index, stage) in overdue {
            match stage {
                Stage::Requested => self.kill_stuck_mold(index, now, effects),
                Stage::Booting { pid } => {
                    let within = self.options.worker_boot_timeout;
                    effects.push(Effect::Log(LogLine::FailedToBoot { index, pid, within }));
                    self.kill(pid, now, effects);
                }
                Stage::Booted { pid } if self.is_candidate(pid) => {
                    let within = self.options.worker_shutdown_timeout;
                    effects.push(Effect::Log(LogLine::FailedToDrain { index, pid, within }));
                    self.kill(pid, now, effects);
                }
                Stage::Booted { pid } => {
                    let within = self.options.worker_timeout;
                    effects.push(Effect::Log(LogLine::FailedToCheckIn { index, pid, within }));
                    self.kill(pid, now, effects);
                }
                Stage::Stopping { pid, booted, signal, kill_at, .. } => {
                    let signal = if kill_at <= now { Signal::Kill } else { signal };
                    effects.push(Effect::Signal { pid, signal });
                    if let Some(worker) = self.workers.by_pid_mut(pid) {
                        worker.stage = Stage::Stopping { pid, booted, signal, signalled_at: now, kill_at };
                    }
                }
            }
        }
    }

    /// The mold was asked to fork `index` and does not come to it.
    fn kill_stuck_mold(&mut self, index: Index, now: Instant, effects: &mut Vec<Effect>) {
        let mold = self.mold_pid().and_then(|pid| self.workers.by_pid_mut(pid));
        if let Some(pid) = mold.filter(|mold| !mold.is_stopping()).and_then(|mold| mold.pid()) {
            let within = self.options.worker_boot_timeout;
            effects.push(Effect::Log(LogLine::FailedToBoot { index, pid, within }));
            self.kill(pid, now, effects);
        }
    }

    pub(super) fn cull(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.workers.all().any(WorkerHandle::is_requested) {
            return; // Nobody to signal yet.
        }
        let staying = self.workers.iter().filter(|worker| !worker.is_stopping()).count();
        // One of them has to be worker 0, and may have died when there were more.
        let mold_is_missing = self.can_refork()
            && self.workers.at(Index::MOLD).is_none()
            && self.backoff.allows(Index::MOLD, now);
        let surplus = (staying + usize::from(mold_is_missing)).saturating_sub(self.asked as usize);
        let strategy = self.options.worker_culling_strategy;
        for index in self.workers.to_cull(surplus, strategy, self.can_refork()) {
            if let Some(pid) = self.workers.at(index).and_then(WorkerHandle::pid) {
                effects.push(Effect::Log(LogLine::Culled { index, pid }));
                self.terminate(pid, now, effects);
                if self.workers.successor().is_some_and(|successor| successor.index() == index) {
                    self.call_replacement_off(now, effects);
                }
            }
        }
    }

    /// Asks for a worker at each free index, smallest first, until there are as
    /// many as asked for. One that is still stopping keeps its place.
    pub(super) fn fill_vacancies(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let vacancies = (self.asked as usize).saturating_sub(self.workers.len());
        let free: Vec<Index> = self
            .workers
            .free_indexes()
            .take(vacancies)
            .filter(|index| self.backoff.allows(*index, now))
            .collect();
        for index in free {
            self.request(index, false, now, effects);
        }
    }

    /// Asks for a worker, or for the `successor` of the one there is; not while there is nobody who could fork it.
    pub(super) fn request(&mut self, index: Index, successor: bool, now: Instant, effects: &mut Vec<Effect>) {
        let via = match self.mold {
            _ if !self.has_molds() && (!self.can_refork() || index == Index::MOLD) => SpawnVia::Master,
            Mold::Absent if self.has_molds() => SpawnVia::Master,
            Mold::Absent => return,
            Mold::Paused { .. } => SpawnVia::Mold,
            Mold::Serving => {
                self.mold = Mold::Paused { reforking: true };
                effects.push(Effect::PauseMold);
                SpawnVia::Mold
            }
        };
        let (phase, limits) = (self.phase, self.options.retirement.limits(self.serial));
        self.serial += 1;
        let place = self.workers.request(index, phase, limits, successor, now);
        effects.push(Effect::Spawn { index, place, phase, via, successor });
    }

    /// Ends workers of an old phase, one at a time, if no other worker is missing, and all have shown that they can serve;
    /// where there are many, and a mold, a tenth of them at a time.
    pub(super) fn retire_outdated(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        // Worker 0 may have been forking ever since, and not have come to ping.
        let shows = |worker: &WorkerHandle| {
            worker.last_status.is_some() || (self.can_refork() && worker.index() == Index::MOLD)
        };
        let serves = |worker: &WorkerHandle| worker.is_serving() && shows(worker);
        let serving = self.workers.iter().filter(|worker| serves(worker));
        let missing = (self.asked as usize).saturating_sub(serving.count());
        if !self.has_full_strength() {
            return;
        }
        let old = self.workers.iter().filter(|worker| serves(worker) && worker.phase != self.phase);
        let old = old.filter_map(WorkerHandle::pid).take(self.most_missing().saturating_sub(missing));
        for pid in old.collect::<Vec<_>>() {
            effects.push(Effect::Log(match self.rolling {
                Some(Rolling::Refork) => LogLine::StoppingForRefork { pid },
                _ => LogLine::StoppingForPhase { pid },
            }));
            self.terminate(pid, now, effects);
            effects.push(Effect::Log(LogLine::TermSent { pid }));
        }
    }

    /// Lets worker 0 serve when it has forked all that it has to fork soon.
    ///
    /// During a refork it stays paused from the first fork to the last, so that
    /// its hooks run once; unless a new worker cannot boot, for then it would
    /// be out of service for ever.
    pub(super) fn release_mold(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Mold::Paused { reforking } = self.mold else {
            return;
        };
        let one_cannot_boot = self.backoff.next_retry(now).is_some();
        let others_follow = self.workers.iter().any(|worker| worker.phase != self.phase);
        if one_cannot_boot || !others_follow || !reforking {
            self.mold = Mold::Serving;
            effects.push(Effect::ResumeMold { after_refork: reforking });
        }
    }

    pub(super) fn announce(&mut self, effects: &mut Vec<Effect>) {
        if !self.has_full_strength() {
            return;
        }
        if !self.announced && self.workers.iter().all(|worker| worker.last_status.is_some()) {
            self.announced = true;
            effects.push(Effect::Fire(LifecycleEvent::Booted));
        }
        let up_to_date = |worker: &WorkerHandle| worker.is_serving() && worker.phase == self.phase;
        if self.rolling.is_some() && self.workers.iter().all(up_to_date) {
            let was_refork = self.rolling == Some(Rolling::Refork);
            self.rolling = None;
            // A refork from a mold is no restart: its code is the same, and it comes again and again.
            if !self.has_molds() || !was_refork {
                effects.push(Effect::Fire(LifecycleEvent::PhaseBooted));
            }
        }
    }
}
