//! One worker as the master sees it.

use std::time::{Duration, Instant};

use super::retirement::{Limits, MemoryWatch};
use super::{ExitStatus, Signal};
use crate::cluster::{Index, Phase, Pid, PlaceId, RetireReason};
use crate::server::ServerStats;
use crate::telemetry::WorkerExit;

/// How often a signal is repeated to a worker that has not exited: the first
/// TERM may have met a worker whose trap was not yet in place.
pub(super) const REPEAT_SIGNAL: Duration = Duration::from_secs(1);

/// A worker from the moment it was asked for until its process is gone.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    index: Index,
    place: PlaceId,
    pub(super) phase: Phase,
    pub(super) started_at: Instant,
    pub(super) last_checkin: Instant,
    pub(super) last_status: Option<ServerStats>,
    pub(super) idle: bool,
    pub(super) stage: Stage,
    booted_at: Option<Instant>,
    /// It was not told to go.
    pub(super) by_itself: bool,
    pub(super) limits: Limits,
    pub(super) memory: MemoryWatch,
    /// It is to be replaced, and since when.
    pub(super) retiring: Option<(RetireReason, Instant)>,
    /// Since when it has no index: it was told to serve no more, and to be the mold.
    aside_since: Option<Instant>,
}

/// `Requested → Booting → Booted → Stopping`; the process may end at any stage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Somebody was asked to fork it.
    Requested,
    /// The process exists.
    Booting { pid: Pid },
    /// It serves, and pings.
    Booted { pid: Pid },
    /// It was told to go, or said that it goes.
    Stopping {
        pid: Pid,
        booted: bool,
        /// What it gets next, when it is still there.
        signal: Signal,
        signalled_at: Instant,
        kill_at: Instant,
    },
}

impl WorkerHandle {
    pub(super) fn requested(
        index: Index,
        place: PlaceId,
        phase: Phase,
        limits: Limits,
        now: Instant,
    ) -> Self {
        Self {
            index,
            place,
            phase,
            started_at: now,
            last_checkin: now,
            last_status: None,
            idle: false,
            stage: Stage::Requested,
            booted_at: None,
            by_itself: true,
            limits,
            memory: MemoryWatch::default(),
            retiring: None,
            aside_since: None,
        }
    }

    /// It has no index from now on.
    pub(super) fn set_aside(&mut self, now: Instant) {
        self.aside_since = Some(now);
        self.retiring = None;
        self.limits = Limits::default();
    }

    /// Since when it has no index, if it has none.
    pub(super) fn aside_since(&self) -> Option<Instant> {
        self.aside_since
    }

    /// Its position in the cluster.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Where it shows its figures.
    pub fn place(&self) -> PlaceId {
        self.place
    }

    /// Why it is to be replaced, or was, if so.
    pub fn retire_reason(&self) -> Option<RetireReason> {
        self.retiring.map(|(reason, _)| reason)
    }

    /// The phase it was forked in; a refork moves worker 0 along.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// `None` while nobody has reported the fork.
    pub fn pid(&self) -> Option<Pid> {
        match self.stage {
            Stage::Requested => None,
            Stage::Booting { pid } | Stage::Booted { pid } | Stage::Stopping { pid, .. } => Some(pid),
        }
    }

    /// When it was asked for, or forked by worker 0.
    pub fn started_at(&self) -> Instant {
        self.started_at
    }

    /// When it last showed that it lives.
    pub fn last_checkin(&self) -> Instant {
        self.last_checkin
    }

    /// What its last ping said; `None` before the first.
    pub fn last_status(&self) -> Option<&ServerStats> {
        self.last_status.as_ref()
    }

    /// Whether it has loaded the app and served, even if it is stopping now.
    pub fn is_booted(&self) -> bool {
        matches!(self.stage, Stage::Booted { .. } | Stage::Stopping { booted: true, .. })
    }

    /// How long ago it has booted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.booted_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Booted { .. }) && self.aside_since.is_none()
    }

    pub(super) fn is_requested(&self) -> bool {
        self.stage == Stage::Requested
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. })
    }

    /// The master has sent KILL.
    pub(super) fn is_killed(&self) -> bool {
        matches!(self.stage, Stage::Stopping { signal: Signal::Kill, .. })
    }

    /// Whether it is a death that it has ended with `status`: it was not told to go, or did not go as it was told.
    pub(super) fn dies_with(&self, status: Option<ExitStatus>) -> bool {
        self.by_itself || status.map_or(self.is_killed(), |status| !status.is_graceful())
    }

    /// Why it has ended with `status`; nobody knows that of one that is not the master's child.
    pub(super) fn exit_with(&self, status: Option<ExitStatus>) -> WorkerExit {
        match status {
            _ if self.is_stopping() && self.retiring.is_some() => match self.retire_reason() {
                Some(RetireReason::Age) => WorkerExit::Lifetime,
                Some(RetireReason::HungRequest) => WorkerExit::RequestTimeout,
                Some(RetireReason::Memory) => WorkerExit::MaxMemory,
                Some(RetireReason::Requests) => WorkerExit::MaxRequests,
                Some(RetireReason::Mold) | None => WorkerExit::Told,
            },
            _ if self.is_killed() => WorkerExit::Timeout,
            _ if !self.dies_with(status) => WorkerExit::Told,
            Some(ExitStatus::Signal(_)) => WorkerExit::Signal,
            Some(ExitStatus::Code(_)) | None => WorkerExit::Failed,
        }
    }

    pub(super) fn forked(&mut self, pid: Pid, now: Instant) {
        debug_assert!(self.is_requested());
        self.stage = Stage::Booting { pid };
        self.started_at = now;
        self.last_checkin = now;
    }

    pub(super) fn booted(&mut self, pid: Pid, now: Instant) {
        self.stage = Stage::Booted { pid };
        self.last_checkin = now;
        self.booted_at = Some(now);
    }

    /// So much of the time that has passed does not count.
    pub(super) fn excuse(&mut self, absence: Duration, now: Instant) {
        self.last_checkin = (self.last_checkin + absence).min(now);
        self.aside_since = self.aside_since.map(|since| (since + absence).min(now));
        if let Stage::Stopping { signalled_at, kill_at, .. } = &mut self.stage {
            *signalled_at = (*signalled_at + absence).min(now);
            *kill_at += absence;
        }
    }

    /// From now on it has `grace` to exit. `signal` was just sent, or (TERM) need
    /// not be: the worker said itself that it terminates.
    pub(super) fn stopping(&mut self, pid: Pid, signal: Signal, now: Instant, grace: Duration) {
        self.by_itself = false;
        self.stage = Stage::Stopping {
            pid,
            booted: self.is_booted(),
            signal,
            signalled_at: now,
            kill_at: now + grace,
        };
    }
}
