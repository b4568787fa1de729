//! Replacing workers that have to retire: the successor boots first.

use std::time::Instant;

use super::super::mold::Mold;
use super::super::retirement::Finding;
use super::super::{Effect, LogLine, Retirement, WorkerHandle};
use super::{Course, Supervisor};
use crate::cluster::{Index, Pid, RetireReason};

impl Supervisor {
    // ---- reasons --------------------------------------------------------------------------------------------------

    pub(super) fn asked_to_retire(
        &mut self,
        pid: Pid,
        reason: RetireReason,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let why = match reason {
            RetireReason::HungRequest => Retirement::HungRequest,
            reason => Retirement::Asked { reason },
        };
        if self.workers.all().any(|worker| worker.pid() == Some(pid)) {
            self.retire(pid, reason, why, now, effects);
        } else {
            self.stranger(pid, effects);
        }
    }

    pub(super) fn note_requests(&mut self, pid: Pid, count: u64, now: Instant, effects: &mut Vec<Effect>) {
        let limit = self.workers.by_pid_mut(pid).and_then(|worker| worker.limits.requests);
        if limit.is_some_and(|limit| count >= limit) {
            self.retire(pid, RetireReason::Requests, Retirement::Requests { count }, now, effects);
        }
    }

    pub(super) fn note_age(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.options.retirement.lifetime.is_none() {
            return;
        }
        let is_old =
            |worker: &&WorkerHandle| worker.limits.lifetime.is_some_and(|limit| worker.age(now) >= limit);
        let old = self.workers.iter().filter(is_old);
        let old: Vec<_> = old.filter_map(|worker| Some((worker.pid()?, worker.age(now)))).collect();
        for (pid, age) in old {
            self.retire(pid, RetireReason::Age, Retirement::Age { age }, now, effects);
        }
    }

    /// Has those measured whose time it is.
    pub(super) fn measure(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(limit) = self.options.retirement.memory else { return };
        if self.course != Course::Running {
            return;
        }
        for worker in self.workers.all_mut().filter(|worker| worker.is_serving()) {
            if let (Some(pid), Some(_)) = (worker.pid(), worker.memory.next_look.take_if(|at| *at <= now)) {
                worker.memory.next_look = Some(now + limit.every);
                effects.push(Effect::Measure { pid });
            }
        }
    }

    pub(super) fn measured(
        &mut self,
        pid: Pid,
        octets: Option<u64>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(limit) = self.options.retirement.memory else { return };
        let Some(worker) = self.workers.by_pid_mut(pid).filter(|worker| worker.is_serving()) else { return };
        let (index, phase) = (worker.index(), worker.phase);
        let Some(octets) = octets else {
            if !std::mem::replace(&mut self.memory_unknown, true) {
                effects.push(Effect::Log(LogLine::MemoryUnknown { index, pid }));
            }
            return;
        };
        match worker.memory.finds(octets, limit) {
            Finding::Fine => {}
            Finding::Refused => {
                if self.refused_in.replace(phase) != Some(phase) {
                    let limit = limit.limit;
                    effects.push(Effect::Log(LogLine::MemoryLimitRefused { index, pid, octets, limit }));
                }
            }
            Finding::TooMuch => {
                let why = Retirement::Memory { octets, limit: limit.limit };
                self.retire(pid, RetireReason::Memory, why, now, effects);
            }
            Finding::FarTooMuch => self.end_at_hard_limit(pid, octets, now, effects),
        }
    }

    /// It ends before its successor boots, as one process more is what there may be no memory for. Not while another
    /// worker is missing that will be there soon: the next look is not far away.
    fn end_at_hard_limit(&mut self, pid: Pid, octets: u64, now: Instant, effects: &mut Vec<Effect>) {
        let Some(limit) = self.options.retirement.memory else { return };
        let others = || self.workers.iter().filter(|worker| worker.pid() != Some(pid));
        let one_cannot_boot = self.backoff.next_retry(now).is_some();
        if self.course != Course::Running || (!others().all(WorkerHandle::is_serving) && !one_cannot_boot) {
            return;
        }
        let Some(worker) = self.workers.by_pid_mut(pid) else { return };
        worker.retiring = Some((RetireReason::Memory, now));
        let (index, hard) = (worker.index(), limit.hard.unwrap_or(limit.limit));
        effects.push(Effect::Log(LogLine::EndsAtHardLimit { index, pid, octets, hard }));
        self.terminate(pid, now, effects);
    }

    /// It is to be replaced, as soon as it is its turn.
    fn retire(
        &mut self,
        pid: Pid,
        reason: RetireReason,
        why: Retirement,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if self.course != Course::Running {
            return;
        }
        let Some(worker) = self.workers.by_pid_mut(pid) else { return };
        if worker.is_stopping() || worker.retiring.is_some() || worker.aside_since().is_some() {
            return;
        }
        worker.retiring = Some((reason, now));
        effects.push(Effect::Log(LogLine::Retires { index: worker.index(), pid, why }));
    }

    // ---- what is done about it ------------------------------------------------------------------------------------

    /// Asks for the successor of one worker that is to retire, the one that has waited longest: one at a time, while
    /// nobody is missing, and not while all are being replaced anyway.
    pub(super) fn replace_one(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let calm =
            self.announced && self.rolling.is_none() && self.ends_at.is_none() && !self.workers.has_extra();
        if !calm || !self.has_full_strength() || !self.workers.iter().all(WorkerHandle::is_serving) {
            return;
        }
        let waiting = self.workers.iter().filter_map(|worker| Some((worker.retiring?.1, worker.index())));
        let next = waiting.filter(|(_, index)| self.backoff.allows(*index, now)).min();
        if let Some((_, index)) = next {
            self.request(index, true, now, effects);
        }
    }

    /// The successor takes the index over when it has shown that it serves, or nobody has the index any more.
    pub(super) fn hand_over(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(successor) = self.workers.successor() else { return };
        let index = successor.index();
        // A mold neither serves nor pings before it is told to.
        let is_mold = self.can_refork() && index == Index::MOLD;
        let serves = successor.is_serving() && (successor.last_status.is_some() || is_mold);
        let former = self.workers.at(index).filter(|worker| !worker.is_stopping());
        let is_to_be_mold = former.and_then(WorkerHandle::retire_reason) == Some(RetireReason::Mold);
        let former = former.and_then(WorkerHandle::pid);
        let is_free = self.workers.at(index).is_none();
        if !serves && !is_free {
            return;
        }
        let booted = successor.is_booted();
        self.workers.succeed();
        if is_mold {
            effects.push(Effect::SwitchMold);
            // What its predecessor was asked to fork is asked of it again; what that one still forks is killed.
            self.workers.remove_all_requested();
            self.mold = if booted { Mold::Paused { reforking: false } } else { Mold::Absent };
            self.mold_progress_at = Some(now);
        }
        let Some(pid) = former else { return };
        if is_to_be_mold {
            self.promote(pid, now, effects);
        } else {
            effects.push(Effect::Log(LogLine::StoppingReplaced { pid }));
            self.terminate(pid, now, effects);
            effects.push(Effect::Log(LogLine::TermSent { pid }));
        }
    }

    /// The successor that boots is not wanted any more.
    pub(super) fn call_replacement_off(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(successor) = self.workers.successor() else { return };
        match (successor.pid(), successor.index()) {
            (Some(pid), _) => self.terminate(pid, now, effects),
            // What worker 0 was asked to fork and still does is killed when it reports.
            (None, index) => self.workers.remove_requested(index),
        }
    }
}
