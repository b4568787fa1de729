//! One generation as the keeper sees it.

use std::time::{Duration, Instant};

use crate::cluster::Pid;
use crate::succession::{Number, Settings};
use crate::telemetry::RestartResult;

/// See the module.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: Number,
    /// `None` while it is being started.
    pub(super) pid: Option<Pid>,
    pub(super) settings: Settings,
    pub(super) stage: Stage,
    pub(super) begun: Instant,
    /// It was started to prove itself, and takes no connections before it is told to.
    pub(super) proves_itself: bool,
    pub(super) staff: Staff,
    /// How many workers it should have now.
    pub(super) asked: u32,
    /// What it said of why it cannot boot.
    pub(super) failure: Option<String>,
    /// It ends by itself, and the server with it.
    pub(super) leaving: bool,
    /// Where it failed that was told to end.
    pub(super) failed_in: Option<RestartResult>,
}

/// A generation's workers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Staff {
    pub(super) workers: u32,
    pub(super) booted: u32,
}

/// How far a generation has come: `Booting → Proving → Settling → Relieving → Leading → Draining`, or `Ending`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Booting {
        /// No other one serves.
        alone: bool,
        due: Option<Instant>,
    },
    /// It is asked whether it is ready.
    Proving {
        due: Instant,
        /// `None` while there is no answer yet.
        ask_at: Option<Instant>,
    },
    /// It is ready, and watched.
    Settling { until: Instant },
    /// It serves, and takes over from the one that leads, some workers at a time.
    Relieving {
        /// Workers that the other one had to give up.
        taken: u32,
        /// The other one was told to give up workers for the next that this one is to start; it is not waited for longer
        /// than this.
        room_by: Option<Instant>,
    },
    /// It serves, and the other one was told to go.
    Succeeding { at_last: Instant },
    /// The server's one that serves.
    Leading { since: Instant },
    /// It finishes its requests.
    Draining { until: Instant },
    /// It is of no use.
    Ending {
        until: Instant,
        /// Why, where that was not told yet.
        untold: Option<String>,
    },
}

impl Generation {
    pub(super) fn new(number: Number, settings: Settings, alone: bool, now: Instant) -> Self {
        let due = (number != Number::FIRST).then(|| now + settings.boot_timeout);
        let mut generation = Self {
            number,
            pid: None,
            settings: Settings::default(),
            stage: Stage::Booting { alone, due },
            begun: now,
            proves_itself: !alone,
            staff: Staff::default(),
            asked: 0,
            failure: None,
            leaving: false,
            failed_in: None,
        };
        generation.take_settings(settings);
        generation
    }

    pub(super) fn take_settings(&mut self, settings: Settings) {
        if let Stage::Booting { due: Some(due), .. } = &mut self.stage {
            *due = self.begun + settings.boot_timeout;
        }
        self.asked = if self.proves_itself { settings.first_step() } else { settings.workers };
        self.settings = settings;
    }

    pub(super) fn is_leading(&self) -> bool {
        matches!(self.stage, Stage::Leading { .. })
    }

    /// The listeners of the server are its own, or were so until another one led.
    pub(super) fn serves(&self) -> bool {
        matches!(self.stage, Stage::Leading { .. } | Stage::Succeeding { .. } | Stage::Draining { .. })
    }

    /// It may become the one that serves, and does not serve yet.
    pub(super) fn is_candidate(&self) -> bool {
        matches!(
            self.stage,
            Stage::Booting { alone: false, .. } | Stage::Proving { .. } | Stage::Settling { .. }
        )
    }

    /// It serves, or is about to, or there is no other one that could.
    pub(super) fn is_on_duty(&self) -> bool {
        !matches!(self.stage, Stage::Draining { .. } | Stage::Ending { .. })
    }

    /// It speaks for the server.
    pub(super) fn speaks(&self) -> bool {
        matches!(self.stage, Stage::Leading { .. } | Stage::Booting { alone: true, .. })
    }

    /// Not all workers that it was asked for have booted.
    pub(super) fn is_growing(&self) -> bool {
        self.staff.booted < self.asked
    }

    /// More workers are there than it was asked for.
    pub(super) fn is_shrinking(&self) -> bool {
        self.staff.workers > self.asked
    }

    /// What it was doing, for a line that says where it failed.
    pub(super) fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Booting { .. } => "at boot",
            Stage::Proving { .. } => "before it was ready",
            Stage::Settling { .. } => "as soon as it was ready",
            Stage::Relieving { .. } | Stage::Succeeding { .. } => "as it took over",
            Stage::Leading { .. } | Stage::Draining { .. } | Stage::Ending { .. } => "later",
        }
    }

    /// As what it counts, if it has failed.
    pub(super) fn failure(&self) -> RestartResult {
        self.failed_in.unwrap_or(match self.stage {
            Stage::Booting { .. } => RestartResult::FailedBoot,
            Stage::Proving { .. } => RestartResult::FailedReady,
            Stage::Settling { .. } => RestartResult::FailedSettle,
            _ => RestartResult::FailedTakeover,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.stage {
            Stage::Booting { .. } => "booting",
            Stage::Proving { .. } => "proving",
            Stage::Settling { .. } => "settling",
            Stage::Relieving { .. } | Stage::Succeeding { .. } => "taking over",
            Stage::Leading { .. } => "serving",
            Stage::Draining { .. } => "draining",
            Stage::Ending { .. } => "ending",
        }
    }

    /// When something is to be done about it if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Booting { due, .. } => due,
            Stage::Proving { due, ask_at } => Some(ask_at.map_or(due + super::TO_END, |at| at.min(due))),
            Stage::Settling { until } | Stage::Draining { until } | Stage::Ending { until, .. } => {
                Some(until)
            }
            Stage::Succeeding { at_last } => Some(at_last),
            Stage::Relieving { room_by, .. } => room_by,
            Stage::Leading { .. } => None,
        }
    }

    /// How long it has lived.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }
}
