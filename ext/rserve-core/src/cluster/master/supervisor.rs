//! The cluster's decisions: which workers should exist, in which phase.
//!
//! [`Supervisor::handle`] takes one event and says what to do about it. It
//! forks nothing, kills nothing and reads no clock: the caller passes `now` and
//! carries the [`Effect`]s out, in order. That is what lets every restart,
//! crash and time-out be tested in microseconds, without a process or Ruby.

mod molding;
mod replacing;
mod staffing;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::boot_backoff::BootBackoff;
use super::mold::Mold;
use super::worker_handle::{REPEAT_SIGNAL, Stage};
use super::worker_set::WorkerSet;
use super::{
    Command, DiedAt, Effect, Event, ExitReason, ExitStatus, LifecycleEvent, LogLine, Options, Signal,
    WorkerHandle,
};
use crate::cluster::link::ipc::WorkerMessage;
use crate::cluster::{Index, Phase, Pid};
use crate::server::ServerStats;
use crate::telemetry::WorkerExit;
use molding::Molding;

/// While workers are on their way out: how often the caller should look for
/// those that it cannot reap (grandchildren end without a SIGCHLD).
const LOOK_FOR_EXITS: Duration = Duration::from_millis(200);

/// How many former workers are remembered, to recognise their last words.
const DEPARTED: usize = 64;

/// A tick that is so late had to wait for more than a busy processor.
const SUSPENDED: Duration = Duration::from_secs(1);

/// Decides what becomes of the workers of one cluster.
#[derive(Debug)]
pub struct Supervisor {
    options: Options,
    /// How many workers are asked for now; at least 1.
    asked: u32,
    phase: Phase,
    workers: WorkerSet,
    departed: VecDeque<Pid>,
    backoff: BootBackoff,
    mold: Mold,
    /// Under `refork_after`: who the mold is.
    molding: Molding,
    /// When the mold last showed that it makes progress with forking.
    mold_progress_at: Option<Instant>,
    course: Course,
    /// After TERM: when the end begins.
    ends_at: Option<Instant>,
    /// The replacement of old workers that is under way.
    rolling: Option<Rolling>,
    /// How many workers were asked for since the start.
    serial: u64,
    /// The last phase of which the log says that its workers leave no room below the limit of memory.
    refused_in: Option<Phase>,
    /// The log says that memory cannot be measured.
    memory_unknown: bool,
    /// Whether [`LifecycleEvent::Booted`] was fired.
    announced: bool,
    /// Workers that have ended, in the order of [`WorkerExit::ALL`].
    exits: [u64; WorkerExit::COUNT],
    /// The last [`Event::Tick`], and when the next one was due then.
    ticked: Option<(Instant, Instant)>,
}

/// Where the cluster as a whole is going.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Course {
    /// Not started.
    Waiting,
    Running,
    /// All workers were told to stop; when the last is gone, this follows.
    Ending(Ending),
    /// The last effect was given out.
    Ended,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Restart,
    Stop,
    Terminate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rolling {
    PhasedRestart,
    Refork,
}

impl Supervisor {
    /// A cluster that has not started.
    pub fn new(options: Options) -> Self {
        Self {
            asked: options.workers.max(1),
            options,
            phase: Phase(0),
            workers: WorkerSet::default(),
            departed: VecDeque::new(),
            backoff: BootBackoff::default(),
            mold: Mold::Absent,
            molding: Molding::default(),
            mold_progress_at: None,
            course: Course::Waiting,
            ends_at: None,
            rolling: None,
            serial: 0,
            refused_in: None,
            memory_unknown: false,
            announced: false,
            exits: [0; WorkerExit::COUNT],
            ticked: None,
        }
    }

    /// Workers that have ended, in the order of [`WorkerExit::ALL`].
    pub fn exits(&self) -> &[u64; WorkerExit::COUNT] {
        &self.exits
    }

    /// Every process, by index; at the end the one more, see [`Supervisor::handle`].
    pub fn all_workers(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.workers.all()
    }

    /// The workers, one for each index. A successor that boots is none of them yet, who was replaced is none any more.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.workers.iter()
    }

    /// How many workers are asked for: `workers`, changed by TTIN and TTOU.
    pub fn asked(&self) -> u32 {
        self.asked
    }

    /// The phase that new workers belong to.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether workers are forked from worker 0.
    pub fn can_refork(&self) -> bool {
        self.options.fork_worker.is_some()
    }

    /// Applies `event` at time `now` and returns what to do about it.
    ///
    /// What operators can rely on, whatever happens: there are never more
    /// processes than asked for, but for one while a worker is replaced that has to retire, which
    /// serves until its successor does, and for molds; a phased restart or refork stops one worker at
    /// a time (from a mold, a tenth), and only while all others are booted; worker 0 is never culled
    /// under `fork_worker`; once the cluster is stopping nothing is forked.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.course == Course::Ended {
            return effects;
        }
        let time_passed = event == Event::Tick;
        match event {
            Event::Start => self.course = Course::Running,
            Event::Spawned { index, pid } => self.forked(index, pid, now, &mut effects),
            Event::SpawnFailed { index, reason } => {
                self.workers.remove_requested(index);
                let retry_in = self.backoff.failed(index, now);
                effects.push(Effect::Log(LogLine::FailedToFork { reason, retry_in }));
            }
            Event::Worker(message) => self.hear(message, now, &mut effects),
            Event::Measured { pid, octets } => self.measured(pid, octets, now, &mut effects),
            Event::Exited { pid, status } => self.gone(pid, Some(status), now, &mut effects),
            Event::Vanished { pid } => self.gone(pid, None, now, &mut effects),
            Event::Operator(command) => self.obey(command, now, &mut effects),
            Event::Tick => {}
        }
        self.stop_if_all_are_idle(now, &mut effects);
        if time_passed {
            self.end_after_delay(now, &mut effects);
            self.excuse_suspension(now);
            self.end_overdue(now, &mut effects);
            self.note_age(now, &mut effects);
            self.measure(now, &mut effects);
        }
        if self.course == Course::Running {
            self.cull(now, &mut effects);
            self.hand_over(now, &mut effects);
            self.fill_vacancies(now, &mut effects);
            self.replace_one(now, &mut effects);
            self.retire_outdated(now, &mut effects);
            self.release_mold(now, &mut effects);
            self.announce(&mut effects);
        }
        self.finish_if_empty(&mut effects);
        if time_passed {
            self.ticked = Some((now, self.next_deadline(now)));
        }
        effects
    }

    /// A master that looks at the time much later than it wanted to was suspended, and its workers may have been
    /// with it (a container that is paused, a virtual machine): that time is nobody's fault.
    fn excuse_suspension(&mut self, now: Instant) {
        let Some((at, due)) = self.ticked else { return };
        if now.saturating_duration_since(due) >= SUSPENDED {
            let absence = now.saturating_duration_since(at);
            self.workers.all_mut().for_each(|worker| worker.excuse(absence, now));
            self.mold_progress_at = self.mold_progress_at.map(|at| (at + absence).min(now));
        }
    }

    /// When [`Event::Tick`] is due if nothing else happens; `now` or later.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        let look = if self.workers.all().any(WorkerHandle::is_stopping) {
            LOOK_FOR_EXITS
        } else {
            self.options.worker_check_interval
        };
        let time_outs = self.workers.all().map(|worker| self.deadline_of(worker));
        let serving = self.workers.all().filter(|worker| worker.is_serving());
        let looks = serving.filter_map(|worker| worker.memory.next_look);
        let retry = self.backoff.next_retry(now);
        let end = self.ends_at.filter(|_| self.course == Course::Running);
        let others = looks.chain(retry).chain(end).chain([now + look]);
        time_outs.chain(others).min().map_or(now, |at| at.max(now))
    }

    fn deadline_of(&self, worker: &WorkerHandle) -> Instant {
        match worker.stage {
            Stage::Requested => {
                // Worker 0 may first have to finish what it serves.
                let patience = self.options.worker_shutdown_timeout + self.options.worker_boot_timeout;
                self.mold_progress_at.map_or(worker.started_at, |at| at.max(worker.started_at)) + patience
            }
            Stage::Booting { .. } => worker.last_checkin + self.options.worker_boot_timeout,
            Stage::Booted { pid } if self.is_candidate(pid) => self.must_be_mold_by(worker),
            Stage::Booted { .. } => worker.last_checkin + self.options.worker_timeout,
            Stage::Stopping { signal: Signal::Kill, signalled_at, .. } => signalled_at + REPEAT_SIGNAL,
            Stage::Stopping { signalled_at, kill_at, .. } => kill_at.min(signalled_at + REPEAT_SIGNAL),
        }
    }

    // --- What happened -------------------------------------------------------

    fn hear(&mut self, message: WorkerMessage, now: Instant, effects: &mut Vec<Effect>) {
        let grace = self.options.worker_shutdown_timeout;
        let ends_by_itself = matches!(message, WorkerMessage::Terminating { .. });
        match message {
            WorkerMessage::WakeUp => {}
            WorkerMessage::Forked { pid, index } => {
                self.mold_makes_progress(now);
                self.forked(index, pid, now, effects);
            }
            WorkerMessage::Booted { pid, index } => self.booted(index, pid, now, effects),
            WorkerMessage::Ping { pid, stats } => self.pinged(pid, stats, now, effects),
            WorkerMessage::Idle { pid, idle } => match self.workers.by_pid_mut(pid) {
                Some(worker) => worker.idle = idle,
                None => self.stranger(pid, effects),
            },
            WorkerMessage::Retire { pid, reason } => self.asked_to_retire(pid, reason, now, effects),
            WorkerMessage::Molded { pid } => self.molded(pid, now, effects),
            WorkerMessage::GotTerm { pid } | WorkerMessage::Terminating { pid } => {
                match self.workers.by_pid_mut(pid) {
                    Some(worker) if worker.is_stopping() => {}
                    Some(worker) => {
                        worker.stopping(pid, Signal::Term, now, grace);
                        worker.by_itself = ends_by_itself;
                        self.mold_left(pid, now);
                    }
                    None => self.stranger(pid, effects),
                }
            }
        }
    }

    /// A process exists for `index`. Worker 0's report may come after the worker's own.
    fn forked(&mut self, index: Index, pid: Pid, now: Instant, effects: &mut Vec<Effect>) {
        match self.workers.of_mut(index, pid) {
            Some(worker) if worker.is_requested() => {
                worker.forked(pid, now);
                self.departed.retain(|former| *former != pid);
            }
            Some(_) => {}
            None => self.stray(pid, effects),
        }
    }

    fn booted(&mut self, index: Index, pid: Pid, now: Instant, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.of_mut(index, pid) else { return self.stray(pid, effects) };
        if worker.is_stopping() || worker.is_serving() {
            return;
        }
        worker.booted(pid, now);
        let uptime = now.saturating_duration_since(worker.started_at);
        effects.push(Effect::Log(LogLine::Booted { index, pid, uptime, phase: worker.phase }));
        if self.can_refork() && self.is_mold(pid) {
            self.mold = Mold::Paused { reforking: false };
        }
        if self.can_refork() || self.has_molds() {
            self.mold_makes_progress(now);
        }
    }

    fn pinged(&mut self, pid: Pid, stats: ServerStats, now: Instant, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.by_pid_mut(pid) else {
            return self.stranger(pid, effects);
        };
        worker.last_checkin = now;
        worker.last_status = Some(stats);
        if worker.is_serving() && self.options.retirement.memory.is_some() {
            worker.memory.next_look.get_or_insert(now);
        }
        let (is_serving, phase) = (worker.is_serving(), worker.phase);
        self.note_requests(pid, stats.requests_count, now, effects);
        if self.mold_is_busy() {
            // As in Puma: while worker 0 forks it may not come to ping for itself.
            self.mold_lives(now);
        }
        let served_enough =
            self.options.fork_worker.is_some_and(|count| count > 0 && stats.requests_count >= count);
        let first_time = phase == Phase(0) && self.rolling.is_none();
        if is_serving && self.is_mold(pid) && served_enough && first_time && self.course == Course::Running {
            self.begin_refork(now, effects);
        }
        self.note_warmth(pid, stats.requests_count, now, effects);
    }

    fn gone(&mut self, pid: Pid, status: Option<ExitStatus>, now: Instant, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.remove(pid) else {
            if let Some(status) = status {
                effects.push(Effect::Log(LogLine::ReapedUnknown { pid, status }));
            }
            return;
        };
        let (index, place, phase) = (worker.index(), worker.place(), worker.phase);
        let is_mold = worker.aside_since().is_some();
        self.exits[worker.exit_with(status) as usize] += 1;
        self.departed.truncate(DEPARTED - 1);
        self.departed.push_front(pid);
        if index == Index::MOLD && self.can_refork() && self.workers.at(index).is_none() {
            // Whatever it had not forked by now it never will.
            self.mold = Mold::Absent;
            self.workers.remove_all_requested();
        }
        if is_mold {
            self.mold_ended(pid);
        }
        effects.push(match status {
            Some(status) => Effect::RunAfterWorkerShutdown { index, place, pid, phase, status },
            None => Effect::Vacate { place },
        });
        let uptime = now.saturating_duration_since(worker.started_at);
        let killed = worker.is_killed();
        if is_mold {
            let line = LogLine::MoldDied { pid, status, uptime, killed };
            return effects.extend(worker.dies_with(status).then_some(Effect::Log(line)));
        }
        let stage = self.stage_of_death(&worker, now);
        if worker.dies_with(status) || (stage != DiedAt::Work && worker.by_itself) {
            effects.push(Effect::Log(LogLine::Died { index, pid, stage, status, uptime, killed }));
        }
    }

    /// How far a worker had come that has ended; decides when its place is filled again.
    fn stage_of_death(&mut self, worker: &WorkerHandle, now: Instant) -> DiedAt {
        if self.course != Course::Running {
            return DiedAt::Work;
        }
        if !worker.is_booted() {
            return DiedAt::BeforeBoot { retry_in: self.backoff.failed(worker.index(), now) };
        }
        match worker.by_itself.then(|| self.backoff.died(worker.index(), worker.age(now), now)).flatten() {
            Some(retry_in) if !retry_in.is_zero() => DiedAt::Boot { retry_in },
            _ => DiedAt::Work,
        }
    }

    /// A message from a process that is not in the list: perhaps the last words of a former worker.
    fn stranger(&mut self, pid: Pid, effects: &mut Vec<Effect>) {
        if !self.departed.contains(&pid) {
            effects.push(Effect::Log(LogLine::OutOfSync { pid }));
        }
    }

    /// A worker that nobody waits for, forked by a worker 0 that has died
    /// since, or after the cluster began to stop. Its place may be taken: it has to go.
    fn stray(&mut self, pid: Pid, effects: &mut Vec<Effect>) {
        if self.departed.contains(&pid) {
            return;
        }
        if self.course == Course::Running {
            effects.push(Effect::Log(LogLine::OutOfSync { pid }));
        }
        // One that the last mold has forked may serve somebody by now.
        let serves = self.has_molds() && self.course == Course::Running;
        if serves {
            self.departed.push_front(pid);
        }
        effects.push(Effect::Signal { pid, signal: if serves { Signal::Term } else { Signal::Kill } });
    }

    fn obey(&mut self, command: Command, now: Instant, effects: &mut Vec<Effect>) {
        match (self.course, command) {
            (Course::Ended, _) => {}
            (_, Command::Halt) => {
                self.course = Course::Ended;
                effects.push(Effect::Log(LogLine::StoppingImmediately));
                effects.push(Effect::CloseListeners);
                effects.push(Effect::AnnounceShutdown);
                effects.push(Effect::Exit(ExitReason::Halt));
            }
            (Course::Waiting | Course::Running, Command::Stop) => {
                let ending = if self.ends_at.is_some() { Ending::Terminate } else { Ending::Stop };
                self.begin_ending(ending, now, effects);
            }
            (Course::Running, Command::Terminate)
                if self.ends_at.is_none() && !self.options.shutdown_delay.is_zero() =>
            {
                let delay = self.options.shutdown_delay;
                self.ends_at = Some(now + delay);
                effects.push(Effect::Log(LogLine::ShutdownDelayed { delay }));
                effects.push(Effect::Retire);
            }
            (Course::Waiting | Course::Running, Command::Terminate) => {
                self.begin_ending(Ending::Terminate, now, effects);
            }
            (Course::Running, Command::Restart | Command::PhasedRestart | Command::Refork)
                if self.ends_at.is_some() => {}
            (Course::Ending(Ending::Restart), Command::Stop) => {
                self.course = Course::Ending(Ending::Stop);
                effects.push(Effect::CloseListeners);
            }
            (Course::Ending(Ending::Stop | Ending::Terminate), Command::Stop) => {
                effects.push(Effect::Log(LogLine::CancelledWaiting));
                self.finish(effects);
            }
            (Course::Ending(Ending::Stop | Ending::Restart), Command::Terminate) => {
                self.course = Course::Ending(Ending::Terminate);
                effects.push(Effect::CloseListeners);
            }
            (_, Command::ReopenLogs) if self.options.redirects_io => {
                effects.push(Effect::ReopenLogs);
                let pids = self.workers.all().filter_map(WorkerHandle::pid);
                effects.extend(pids.map(|pid| Effect::Signal { pid, signal: Signal::Hup }));
            }
            (Course::Ending(_), _) => {}
            (_, Command::ReopenLogs) => self.begin_ending(Ending::Stop, now, effects),
            (_, Command::Restart) => self.begin_ending(Ending::Restart, now, effects),
            (_, Command::PhasedRestart) => self.begin_phase(Rolling::PhasedRestart, now, effects),
            (_, Command::Refork) if self.can_refork() => self.begin_refork(now, effects),
            (_, Command::Refork) if self.has_molds() => self.want_mold(now, effects),
            (_, Command::Refork) => effects.push(Effect::Log(LogLine::ReforkUnavailable)),
            (_, Command::AddWorker) => self.asked = self.asked.saturating_add(1),
            (_, Command::RemoveWorker) => self.asked = (self.asked - 1).max(1),
        }
    }

    fn end_after_delay(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.course == Course::Running && self.ends_at.is_some_and(|at| at <= now) {
            self.begin_ending(Ending::Terminate, now, effects);
        }
    }

    // --- How it is done ------------------------------------------------------

    fn finish_if_empty(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.course, Course::Ending(_)) && self.workers.is_empty() {
            self.finish(effects);
        }
    }

    fn begin_refork(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let before = self.phase;
        self.begin_phase(Rolling::Refork, now, effects);
        if let Some(mold) = self.workers.at_mut(Index::MOLD).filter(|worker| worker.phase == before) {
            mold.phase = self.phase;
        }
    }

    fn begin_phase(&mut self, rolling: Rolling, now: Instant, effects: &mut Vec<Effect>) {
        self.phase = self.phase.next();
        self.rolling = Some(rolling);
        self.call_replacement_off(now, effects);
        self.dismiss_molds(now, effects);
        self.backoff.forget();
        effects.push(Effect::Fire(LifecycleEvent::PhaseBegun));
        effects.push(Effect::Log(match rolling {
            Rolling::PhasedRestart => LogLine::PhasedRestartBegun { phase: self.phase },
            Rolling::Refork => LogLine::ReforkBegun { phase: self.phase },
        }));
        effects.push(Effect::ChangeDirectory);
    }

    /// Tells every worker to stop. Listeners stay open for a restart only.
    fn begin_ending(&mut self, ending: Ending, now: Instant, effects: &mut Vec<Effect>) {
        self.course = Course::Ending(ending);
        self.rolling = None;
        if ending != Ending::Restart {
            effects.push(Effect::CloseListeners);
        }
        effects.push(Effect::AnnounceWorkersStop);
        // What worker 0 was asked to fork and still does is killed when it reports.
        self.workers.remove_all_requested();
        let staying = self.workers.all().filter(|worker| !worker.is_stopping());
        let pids: Vec<Pid> = staying.filter_map(WorkerHandle::pid).collect();
        for pid in pids {
            self.terminate(pid, now, effects);
        }
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) {
        match self.course {
            Course::Ending(Ending::Restart) => effects.push(Effect::Exec),
            Course::Ending(Ending::Terminate) => {
                // The hook after the good-bye, as with Puma, whose tests read them in this order.
                effects.push(Effect::AnnounceShutdown);
                effects.push(Effect::Fire(LifecycleEvent::Stopped));
                effects.push(Effect::Exit(ExitReason::Terminate));
            }
            Course::Ending(Ending::Stop) => {
                effects.push(Effect::Fire(LifecycleEvent::Stopped));
                effects.push(Effect::AnnounceShutdown);
                effects.push(Effect::Exit(ExitReason::Stop));
            }
            Course::Waiting | Course::Running | Course::Ended => {}
        }
        self.course = Course::Ended;
    }

    fn terminate(&mut self, pid: Pid, now: Instant, effects: &mut Vec<Effect>) {
        self.end(pid, Signal::Term, self.options.worker_shutdown_timeout, now, effects);
    }

    fn kill(&mut self, pid: Pid, now: Instant, effects: &mut Vec<Effect>) {
        self.end(pid, Signal::Kill, Duration::ZERO, now, effects);
    }

    fn end(&mut self, pid: Pid, signal: Signal, grace: Duration, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(worker) = self.workers.by_pid_mut(pid) {
            worker.stopping(pid, signal, now, grace);
        }
        self.mold_left(pid, now);
        effects.push(Effect::Signal { pid, signal });
    }

    fn has_full_strength(&self) -> bool {
        self.course == Course::Running && self.workers.len() == self.asked as usize
    }

    /// The process that the others are forked from, if any is.
    fn mold_pid(&self) -> Option<Pid> {
        if self.can_refork() {
            return self.workers.at(Index::MOLD).and_then(WorkerHandle::pid);
        }
        self.molding.mold
    }

    /// Whether the others are forked from this process.
    fn is_mold(&self, pid: Pid) -> bool {
        self.mold_pid() == Some(pid)
    }

    /// If `pid` is the mold, nothing more is asked of it.
    fn mold_left(&mut self, pid: Pid, now: Instant) {
        if self.is_mold(pid) {
            self.mold = Mold::Absent;
            // It may still fork what it was asked for; its end settles that.
            self.mold_progress_at = Some(now);
        }
        self.dismissed(pid);
    }

    fn mold_is_busy(&self) -> bool {
        (self.can_refork() || self.has_molds())
            && (matches!(self.mold, Mold::Paused { .. })
                || self.rolling.is_some()
                || self.workers.all().any(WorkerHandle::is_requested))
    }

    fn mold_makes_progress(&mut self, now: Instant) {
        self.mold_progress_at = Some(now);
        self.mold_lives(now);
    }

    fn mold_lives(&mut self, now: Instant) {
        let mold = self.mold_pid().and_then(|pid| self.workers.by_pid_mut(pid));
        if let Some(mold) = mold.filter(|worker| matches!(worker.stage, Stage::Booted { .. })) {
            mold.last_checkin = now;
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
