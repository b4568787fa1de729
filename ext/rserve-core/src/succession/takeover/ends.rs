//! Ends of generations, wanted and unwanted.

use std::time::{Duration, Instant};

use super::generation::{Generation, Stage};
use super::standing::Failure;
use super::{Course, LONGEST_WAIT, PROBATION, SIGTERM, TO_END, Takeover};
use crate::cluster::Pid;
use crate::cluster::master::ExitStatus;
use crate::succession::message::Order;
use crate::succession::{Effect, LogLine, Notification, Number};
use crate::telemetry::RestartResult;

impl Takeover {
    pub(super) fn exited(&mut self, pid: Pid, status: ExitStatus, now: Instant, effects: &mut Vec<Effect>) {
        let Some(at) = self.generations.iter().position(|it| it.pid == Some(pid)) else { return };
        let gone = self.generations.remove(at);
        let number = gone.number;
        if !gone.serves() {
            effects.push(Effect::DropListeners(number));
        }
        if !matches!(status, ExitStatus::Code(0) | ExitStatus::Signal(SIGTERM)) {
            self.left_over.push((pid, now + gone.settings.drain));
        }
        let why = || {
            let failure = gone.failure.clone();
            failure.unwrap_or_else(|| format!("{}: {status}", gone.phase()))
        };
        let result = gone.failure();
        if !self.is_running() {
            // The one that served says how the server ends; the last of those that did not, if there is none.
            if gone.speaks() || self.exit.is_none() {
                self.exit = Some(status);
            }
            return;
        }
        match gone.stage {
            Stage::Booting { alone: true, .. } if !self.has_led => {
                self.course = Course::Stopping(status);
                self.exit = Some(status);
            }
            Stage::Booting { alone: true, .. } => self.failed_alone(number, result, why(), now, effects),
            Stage::Booting { .. } | Stage::Proving { .. } | Stage::Settling { .. } => {
                self.failed(number, result, why(), now, effects);
            }
            Stage::Relieving { taken, .. } => {
                self.give_back(taken, effects);
                self.failed(number, result, why(), now, effects);
            }
            Stage::Ending { untold, .. } => {
                let alone = !self.generations.iter().any(Generation::is_on_duty);
                match untold {
                    Some(why) if alone => self.failed_alone(number, result, why, now, effects),
                    Some(why) => self.failed(number, result, why, now, effects),
                    None => {}
                }
            }
            Stage::Draining { .. } => effects.push(Effect::Publish),
            Stage::Leading { .. } | Stage::Succeeding { .. } if gone.leaving => {
                self.exit = Some(status);
                self.stop(Order::Interrupt, status, now, effects);
            }
            Stage::Leading { since } => {
                effects.push(Effect::Log(LogLine::Died { number, pid, status }));
                self.finish(number, Some(Failure { result, line: why() }), now, effects);
                self.replace(since, now, effects);
            }
            Stage::Succeeding { .. } => {
                effects.push(Effect::Log(LogLine::Died { number, pid, status }));
                self.finish(number, Some(Failure { result, line: why() }), now, effects);
                self.replace(now, now, effects);
            }
        }
        self.succeed(now, effects);
    }

    /// The generation that led since `since` is gone: the next one takes its place at once.
    fn replace(&mut self, since: Instant, now: Instant, effects: &mut Vec<Effect>) {
        if now.saturating_duration_since(since) >= PROBATION {
            self.in_a_row = 0;
        }
        let Some(next) = self.generations.iter_mut().find(|it| it.is_on_duty()) else {
            self.retry_at = Some(now + self.wait());
            return;
        };
        let number = next.number;
        match next.stage {
            Stage::Booting { due, .. } => {
                next.stage = Stage::Booting { alone: true, due };
                effects.push(Effect::Tell(number, Order::Serve));
            }
            Stage::Proving { .. } | Stage::Settling { .. } => {
                effects.push(Effect::Tell(number, Order::Serve));
                self.take_the_lead(number, None, now, effects);
            }
            Stage::Relieving { .. } => self.take_the_lead(number, None, now, effects),
            _ => {}
        }
    }

    pub(super) fn spawn_failed(
        &mut self,
        number: Number,
        reason: &str,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.generations.iter().position(|it| it.number == number) else { return };
        let alone = matches!(self.generations.remove(at).stage, Stage::Booting { alone: true, .. });
        let why = format!("at its start: {reason}");
        match alone {
            true => self.failed_alone(number, RestartResult::FailedBoot, why, now, effects),
            false => self.failed(number, RestartResult::FailedBoot, why, now, effects),
        }
    }

    /// It did not make it, and the one that serves goes on.
    fn failed(
        &mut self,
        number: Number,
        result: RestartResult,
        why: String,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let line = LogLine::Failed { number, why, serving: self.serving(), retry_in: None };
        let text = line.to_string();
        effects.push(Effect::Log(line));
        self.finish(number, Some(Failure { result, line: text.clone() }), now, effects);
        if !self.wanted {
            effects.push(Effect::Notify(Notification::Ready(Some(text))));
        }
    }

    /// It did not make it, and nobody else serves.
    fn failed_alone(
        &mut self,
        number: Number,
        result: RestartResult,
        why: String,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let delay = self.wait();
        self.retry_at = Some(now + delay);
        let line = LogLine::Failed { number, why, serving: None, retry_in: Some(delay) };
        self.finish(number, Some(Failure { result, line: line.to_string() }), now, effects);
        effects.push(Effect::Log(line));
    }

    /// 0, 1, 2, 4, 8, 16, 30, 30 … seconds: one crash may be an accident.
    fn wait(&mut self) -> Duration {
        self.in_a_row += 1;
        match self.in_a_row {
            1 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 2).min(5)).min(LONGEST_WAIT),
        }
    }

    /// Ends a generation that is of no use. `why` is told when it is gone, or now if that may take long.
    pub(super) fn end(
        &mut self,
        number: Number,
        why: Option<String>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(generation) = self.get(number) else { return };
        let result = generation.failure();
        generation.failed_in = Some(result);
        let stage =
            std::mem::replace(&mut generation.stage, Stage::Ending { until: now + TO_END, untold: why });
        match stage {
            Stage::Booting { .. } => effects.push(Effect::Tell(number, Order::GiveUp)),
            Stage::Relieving { taken, .. } => {
                let untold = match &mut generation.stage {
                    Stage::Ending { until, untold } => {
                        *until = now + generation.settings.drain;
                        untold.take()
                    }
                    _ => None,
                };
                effects.push(Effect::Tell(number, Order::Drain));
                self.give_back(taken, effects);
                if let Some(why) = untold {
                    self.failed(number, result, why, now, effects);
                }
            }
            _ => effects.push(Effect::Tell(number, Order::Drain)),
        }
        effects.push(Effect::Publish);
    }
}
