//! The mold (`refork_after`): a worker that has served for a while serves no more, and others are forked from it, which
//! share with it what it has loaded and computed since the last fork.
//!
//! Its place among the workers is taken first, as that of a worker that retires. Then it finishes its requests, and when
//! it says that it has, it is the mold instead of the last one, and the workers are replaced by children of its.

use std::time::Instant;

use super::super::mold::Mold;
use super::super::{Effect, LogLine, Retirement, WorkerHandle};
use super::{Course, Rolling, Supervisor};
use crate::cluster::{Pid, RetireReason};

/// Of the workers, one in so many may be missing while they are replaced.
const SHARE: usize = 10;

/// Who forks, and who will.
#[derive(Debug, Default)]
pub(super) struct Molding {
    /// How often a worker has become the mold since the application was loaded.
    pub(super) times: usize,
    /// It finishes its requests, to be the mold.
    candidate: Option<Pid>,
    /// The others are forked from it.
    pub(super) mold: Option<Pid>,
}

impl Supervisor {
    /// Whether some worker is to be the mold, sooner or later.
    pub(super) fn has_molds(&self) -> bool {
        !self.options.refork_after.is_empty()
    }

    pub(super) fn is_candidate(&self, pid: Pid) -> bool {
        self.molding.candidate == Some(pid)
    }

    /// When its requests are waited for no longer.
    pub(super) fn must_be_mold_by(&self, candidate: &WorkerHandle) -> Instant {
        candidate.aside_since().unwrap_or(candidate.last_checkin) + self.options.worker_shutdown_timeout
    }

    // ---- becoming the mold ----------------------------------------------------------------------------------------

    /// A worker has served so many requests: enough to be the mold?
    pub(super) fn note_warmth(&mut self, pid: Pid, count: u64, now: Instant, effects: &mut Vec<Effect>) {
        let numbers = &self.options.refork_after;
        let limit = numbers.get(self.molding.times).or(numbers.last());
        if limit.is_some_and(|limit| count >= *limit) && self.may_mold() {
            self.choose(pid, count, now, effects);
        }
    }

    /// An operator wants the workers to be forked anew: from the one that has served most.
    pub(super) fn want_mold(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let served = |worker: &WorkerHandle| worker.last_status().map_or(0, |status| status.requests_count);
        let fit = self.workers.iter().filter(|worker| worker.is_serving() && worker.retiring.is_none());
        let best = fit.max_by_key(|worker| (served(worker), std::cmp::Reverse(worker.index())));
        let best = best.and_then(|worker| Some((worker.pid()?, served(worker))));
        if let Some((pid, count)) = best
            && self.may_mold()
        {
            self.choose(pid, count, now, effects);
        }
    }

    /// One at a time, and not in the middle of anything else.
    fn may_mold(&self) -> bool {
        let chosen = |worker: &WorkerHandle| worker.retire_reason() == Some(RetireReason::Mold);
        self.course == Course::Running
            && self.announced
            && self.rolling.is_none()
            && self.ends_at.is_none()
            && self.molding.candidate.is_none()
            && !self.workers.all().any(chosen)
    }

    fn choose(&mut self, pid: Pid, count: u64, now: Instant, effects: &mut Vec<Effect>) {
        let phase = self.phase;
        let Some(worker) = self.workers.by_pid_mut(pid) else { return };
        if worker.phase == phase && worker.is_serving() && worker.retiring.is_none() {
            worker.retiring = Some((RetireReason::Mold, now));
            let (index, why) = (worker.index(), Retirement::Mold { count });
            effects.push(Effect::Log(LogLine::Retires { index, pid, why }));
        }
    }

    /// Another worker serves in place of `pid`.
    pub(super) fn promote(&mut self, pid: Pid, now: Instant, effects: &mut Vec<Effect>) {
        self.workers.set_aside(now);
        self.molding.candidate = Some(pid);
        if let Some(worker) = self.workers.by_pid_mut(pid) {
            effects.push(Effect::Log(LogLine::BecomesMold { index: worker.index(), pid }));
        }
        effects.push(Effect::Promote { pid });
    }

    /// It has answered its last request: the workers are replaced by children of its.
    pub(super) fn molded(&mut self, pid: Pid, now: Instant, effects: &mut Vec<Effect>) {
        if self.molding.candidate.take_if(|candidate| *candidate == pid).is_none() {
            return;
        }
        let former = self.molding.mold.take();
        if let Some(former) = former {
            effects.push(Effect::Log(LogLine::StoppingMold { pid: former }));
            self.terminate(former, now, effects);
        }
        // What the last one was asked to fork is asked of this one; what that one still forks is killed.
        self.workers.remove_all_requested();
        self.phase = self.phase.next();
        let phase = self.phase;
        if let Some(mold) = self.workers.by_pid_mut(pid) {
            mold.phase = phase;
            mold.last_checkin = now;
            effects.push(Effect::Vacate { place: mold.place() });
        }
        effects.push(Effect::UseMold { pid });
        (self.molding.mold, self.mold, self.mold_progress_at) = (Some(pid), Mold::Serving, Some(now));
        self.molding.times += 1;
        self.rolling = Some(Rolling::Refork);
        self.call_replacement_off(now, effects);
        self.backoff.forget();
        effects.push(Effect::Log(LogLine::ReforkBegun { phase }));
    }

    // ---- its end ----------------------------------------------------------------------------------------------------

    /// It was told to go, or goes: it is not the mold, nor about to be, any more.
    pub(super) fn dismissed(&mut self, pid: Pid) {
        self.molding.candidate.take_if(|candidate| *candidate == pid);
        if self.molding.mold.take_if(|mold| *mold == pid).is_some() && self.rolling == Some(Rolling::Refork) {
            // Those that were not replaced yet have the same code as the others, and are warm.
            let phase = self.phase;
            self.workers.all_mut().for_each(|worker| worker.phase = phase);
        }
    }

    /// A process without an index is gone.
    pub(super) fn mold_ended(&mut self, pid: Pid) {
        self.dismissed(pid);
        if self.molding.mold.is_none() {
            // Whatever it had not forked by now nobody will.
            self.mold = Mold::Absent;
            self.workers.remove_all_requested();
        }
    }

    /// New code is to be loaded, which molds do not have.
    pub(super) fn dismiss_molds(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let staying = self.workers.aside().iter().filter(|worker| !worker.is_stopping());
        let pids: Vec<Pid> = staying.filter_map(WorkerHandle::pid).collect();
        for pid in pids {
            self.terminate(pid, now, effects);
        }
        self.molding.times = 0;
    }

    // ---- replacing the others ---------------------------------------------------------------------------------------

    /// How many workers may be missing at a time while they are replaced.
    pub(super) fn most_missing(&self) -> usize {
        if self.has_molds() && self.rolling == Some(Rolling::Refork) {
            (self.asked as usize / SHARE).max(1)
        } else {
            1
        }
    }
}
