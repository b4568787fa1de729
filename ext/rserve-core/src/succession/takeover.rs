//! The keeper's decisions: which generations there should be, and which of them serves.
//!
//! [`Takeover::handle`] takes one event and says what to do about it. It starts nothing, signals nothing and reads no clock:
//! the caller passes `now` and carries the [`Effect`]s out, in order.

mod ends;
mod generation;
mod relief;
mod standing;

use std::time::{Duration, Instant};

use super::message::{Asked, Forwarded, Order, Report};
use super::{Effect, Event, LogLine, Notification, Number, Request, Settings};
use crate::cluster::Pid;
use crate::cluster::master::ExitStatus;

use generation::{Generation, Staff, Stage};
pub use standing::Standing;

/// How long a generation that serves nobody may take to end.
const TO_END: Duration = Duration::from_secs(5);

/// How soon what was killed is looked at again, should it still be there.
const TO_DIE: Duration = Duration::from_secs(5);

/// A generation that ends so soon after it began to serve has not shown that it can.
const PROBATION: Duration = Duration::from_secs(5);

/// The longest wait before a server that has no generation starts another one.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

const SIGTERM: i32 = nix::libc::SIGTERM;

/// Decides what becomes of the generations of one server.
#[derive(Debug)]
pub struct Takeover {
    /// Two at most.
    generations: Vec<Generation>,
    last: Number,
    /// Of the generation that led last: what is known before one has said anything.
    settings: Settings,
    course: Course,
    /// Another generation was asked for, and could not be begun yet.
    wanted: bool,
    /// Nobody serves: when another attempt is made.
    retry_at: Option<Instant>,
    /// How often in a row nobody came to serve for long.
    in_a_row: u32,
    /// Some generation has served.
    has_led: bool,
    /// How the one ended whose end is the server's.
    exit: Option<ExitStatus>,
    /// Groups of processes whose master did not end in order, and when what is left of them is ended.
    left_over: Vec<(Pid, Instant)>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Course {
    Running,
    /// The server is told to stop; this is its status if no generation's is.
    Stopping(ExitStatus),
    Ended,
}

impl Takeover {
    /// A server whose first generation is to be told by [`Event::Begun`].
    pub fn new() -> Self {
        Self {
            generations: Vec::new(),
            last: Number(0),
            settings: Settings::default(),
            course: Course::Running,
            wanted: false,
            retry_at: None,
            in_a_row: 0,
            has_led: false,
            exit: None,
            left_over: Vec::new(),
            standing: Standing::default(),
        }
    }

    /// Applies `event` at time `now` and returns what to do about it.
    ///
    /// What operators can rely on, whatever happens: there are never more than two generations; the one that serves is told
    /// to go only when the other one has booted, has proved itself and has as many workers as it should; once the server is
    /// stopping nothing is started.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.course == Course::Ended {
            return effects;
        }
        match event {
            Event::Begun(pid) => {
                self.last = Number::FIRST;
                let mut first = Generation::new(Number::FIRST, self.settings.clone(), true, now);
                first.pid = Some(pid);
                self.generations.push(first);
            }
            Event::Spawned { number, pid } => {
                if let Some(generation) = self.get(number) {
                    generation.pid = Some(pid);
                }
                effects.push(Effect::Publish);
            }
            Event::SpawnFailed { number, reason } => self.spawn_failed(number, &reason, now, &mut effects),
            Event::Heard(number, report) => self.heard(number, report, now, &mut effects),
            Event::Probed(number, outcome) => self.probed(number, outcome, now, &mut effects),
            Event::Exited { pid, status } => self.exited(pid, status, now, &mut effects),
            Event::Operator(request) => self.asked(request, now, &mut effects),
            Event::Tick => {}
        }
        self.look_at_the_clock(now, &mut effects);
        self.relieve(now, &mut effects);
        self.begin_another(now, &mut effects);
        if let Course::Stopping(status) = self.course
            && self.generations.is_empty()
        {
            self.course = Course::Ended;
            effects.extend(self.left_over.drain(..).map(|(pid, _)| Effect::KillGroup(pid)));
            effects.push(Effect::Exit(self.exit.unwrap_or(status)));
        }
        effects
    }

    /// When to tell [`Event::Tick`] at the latest; `None` if only an event changes anything.
    pub fn next_deadline(&self) -> Option<Instant> {
        let generations = self.generations.iter().filter_map(Generation::deadline);
        let groups = self.left_over.iter().map(|(_, at)| *at);
        generations.chain(groups).chain(self.retry_at).min()
    }

    /// The generation that speaks for the server, if there is one.
    pub fn spokesman(&self) -> Option<Number> {
        self.generations.iter().find(|generation| generation.speaks()).map(|generation| generation.number)
    }

    /// What a generation says of its restart; `None` for one that is gone.
    pub fn settings_of(&self, number: Number) -> Option<&Settings> {
        self.generations.iter().find(|generation| generation.number == number).map(|it| &it.settings)
    }

    /// What the generation says that led last.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Why the last restart failed, if it did.
    pub fn last_failure(&self) -> Option<&str> {
        self.standing.last_failure()
    }

    fn get(&mut self, number: Number) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.number == number)
    }

    fn leading(&mut self) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.is_leading())
    }

    fn serving(&self) -> Option<Number> {
        self.generations.iter().find(|generation| generation.is_leading()).map(|generation| generation.number)
    }

    fn is_running(&self) -> bool {
        self.course == Course::Running
    }

    // ---- operators ----------------------------------------------------------------------------------------------

    fn asked(&mut self, request: Request, now: Instant, effects: &mut Vec<Effect>) {
        match request {
            Request::Restart => self.restart(now, effects),
            Request::Interrupt => self.stop(Order::Interrupt, ExitStatus::Code(0), now, effects),
            Request::Terminate => self.stop(Order::Terminate, ExitStatus::Signal(SIGTERM), now, effects),
            Request::Halt => self.stop(Order::Halt, ExitStatus::Code(0), now, effects),
            Request::Forward(signal) => self.forward(signal, effects),
        }
    }

    /// Log files are every process' affair, workers the one's that serves, or that is about to.
    fn forward(&mut self, signal: Forwarded, effects: &mut Vec<Effect>) {
        let relieves =
            |it: &&mut Generation| matches!(it.stage, Stage::Relieving { .. } | Stage::Succeeding { .. });
        if matches!(signal, Forwarded::Ttin | Forwarded::Ttou)
            && let Some(next) = self.generations.iter_mut().find(relieves)
        {
            let workers = &mut next.settings.workers;
            *workers = if signal == Forwarded::Ttin { *workers + 1 } else { (*workers - 1).max(next.asked) };
            return;
        }
        for generation in &mut self.generations {
            if generation.speaks() || (signal == Forwarded::Hup && generation.is_on_duty()) {
                match signal {
                    Forwarded::Ttin => generation.asked += 1,
                    Forwarded::Ttou => generation.asked = generation.asked.saturating_sub(1).max(1),
                    Forwarded::Hup | Forwarded::Pwr | Forwarded::Urg => {}
                }
                effects.push(Effect::Tell(generation.number, Order::Signal(signal)));
            }
        }
    }

    /// A newer restart supersedes one that serves nobody yet, and waits for one that does.
    fn restart(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.is_running() {
            return;
        }
        self.wanted = true;
        self.in_a_row = 0;
        self.standing.asked();
        effects.push(Effect::Publish);
        let first = !self.has_led;
        let superseded = self
            .generations
            .iter()
            .find(|it| {
                it.is_candidate() || (matches!(it.stage, Stage::Booting { alone: true, .. }) && !first)
            })
            .map(|it| it.number);
        if let Some(number) = superseded {
            effects.push(Effect::Log(LogLine::Superseded { number }));
            self.standing.superseded(number);
            self.end(number, None, now, effects);
        }
    }

    fn stop(&mut self, order: Order, status: ExitStatus, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_running() {
            self.course = Course::Stopping(status);
            (self.wanted, self.retry_at) = (false, None);
            effects.push(Effect::Notify(Notification::Stopping));
            effects.push(Effect::CloseListeners);
        }
        for generation in &mut self.generations {
            effects.push(Effect::Tell(generation.number, order.clone()));
            if generation.is_candidate() {
                generation.stage = Stage::Ending { until: now + TO_END, untold: None };
            }
        }
    }

    // ---- what generations say -----------------------------------------------------------------------------------

    fn heard(&mut self, number: Number, report: Report, now: Instant, effects: &mut Vec<Effect>) {
        let has_led = self.has_led;
        let Some(generation) = self.get(number) else { return };
        match report {
            Report::Settings(settings) => generation.take_settings(settings),
            Report::Listening(_) => {
                if matches!(generation.stage, Stage::Booting { alone: true, .. }) && !generation.proves_itself
                {
                    generation.stage = Stage::Leading { since: now };
                    self.lead(number, effects);
                }
            }
            Report::Booted => self.booted(number, now, effects),
            Report::Staff { workers, booted } => generation.staff = Staff { workers, booted },
            Report::Failed { phase, message } => {
                let text = format!("{phase}: {message}");
                let says_first = generation.failure.is_none();
                generation.failure.get_or_insert_with(|| text.clone());
                if let Stage::Ending { untold: Some(why), .. } = &mut generation.stage {
                    // Of one that has failed already the first reason counts; of one that was late this says where.
                    if phase == "at" && says_first {
                        *why = format!("{why}, {text}");
                    }
                } else if generation.is_candidate() {
                    self.end(number, Some(text), now, effects);
                }
            }
            Report::WorkerDied(text) => {
                let relieves = matches!(generation.stage, Stage::Relieving { .. });
                if generation.is_candidate() || relieves {
                    let why = format!("{}: {text}", generation.phase());
                    self.end(number, Some(why), now, effects);
                }
            }
            Report::Resigned => self.succeed(now, effects),
            Report::Leaving => generation.leaving = true,
            Report::Asks(asked) if generation.is_candidate() => match asked {
                Asked::Restart => {}
                Asked::Stop | Asked::Terminate | Asked::Halt => {
                    let why = format!("{}: it was told to stop", generation.phase());
                    self.end(number, Some(why), now, effects);
                }
            },
            Report::Asks(asked) if generation.is_on_duty() || !has_led => {
                let request = match asked {
                    Asked::Restart if !generation.speaks() => return,
                    Asked::Restart => Request::Restart,
                    Asked::Stop => Request::Interrupt,
                    Asked::Terminate => Request::Terminate,
                    Asked::Halt => Request::Halt,
                };
                self.asked(request, now, effects);
            }
            Report::Asks(_) | Report::Notify(_) => {}
        }
    }

    fn booted(&mut self, number: Number, now: Instant, effects: &mut Vec<Effect>) {
        let Some(generation) = self.get(number) else { return };
        match generation.stage {
            Stage::Booting { alone: false, .. } => {
                effects.push(Effect::Publish);
                match &generation.settings.ready {
                    Some(ready) => {
                        generation.stage = Stage::Proving { due: now + ready.timeout, ask_at: Some(now) };
                    }
                    None => generation.stage = Stage::Settling { until: now + generation.settings.settle },
                }
            }
            // It was to prove itself, and then there was nobody else.
            Stage::Booting { alone: true, .. } => {
                generation.stage = Stage::Leading { since: now };
                effects.push(Effect::Tell(number, Order::Lead));
                self.grow_to_full(number, effects);
                self.lead(number, effects);
                self.finish(number, None, now, effects);
                effects.push(Effect::Notify(Notification::Ready(None)));
            }
            Stage::Leading { .. } => {
                self.finish(number, None, now, effects);
                effects.push(Effect::Notify(Notification::Ready(None)));
            }
            _ => {}
        }
    }

    fn probed(
        &mut self,
        number: Number,
        outcome: Result<(), String>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(generation) = self.get(number) else { return };
        let Stage::Proving { due, ask_at } = &mut generation.stage else { return };
        let Some(ready) = &generation.settings.ready else { return };
        match outcome {
            Ok(()) => {
                generation.stage = Stage::Settling { until: now + generation.settings.settle };
                effects.push(Effect::Publish);
            }
            Err(reason) if now >= *due => {
                let why = format!("before it was ready: {reason} for {}", ready.path);
                self.end(number, Some(why), now, effects);
            }
            Err(_) => *ask_at = Some((now + ready.interval).min(*due)),
        }
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    fn look_at_the_clock(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut overdue = Vec::new();
        for generation in &mut self.generations {
            if generation.deadline().is_none_or(|at| at > now) {
                continue;
            }
            let number = generation.number;
            match &mut generation.stage {
                Stage::Booting { .. } => {
                    let within = generation.settings.boot_timeout.as_secs_f64();
                    overdue.push((
                        number,
                        format!("at boot: not booted within {within}s (worker_boot_timeout)"),
                    ));
                }
                // The last answer decides.
                Stage::Proving { ask_at, due } => match ask_at.take() {
                    Some(_) => effects.push(Effect::Probe(number)),
                    None if now >= *due + TO_END => {
                        overdue.push((number, "before it was ready: it does not answer".into()));
                    }
                    None => {}
                },
                Stage::Settling { .. } => {
                    generation.stage = Stage::Relieving { taken: 0, room_by: None };
                    effects.push(Effect::Tell(number, Order::Serve));
                    effects.push(Effect::Publish);
                }
                Stage::Draining { until } | Stage::Ending { until, .. } => {
                    *until = now + TO_DIE;
                    if let Some(pid) = generation.pid {
                        effects.push(Effect::Log(LogLine::Killed { number, pid }));
                        effects.push(Effect::Kill(pid));
                    }
                }
                // See `succeed` and `relieve`.
                Stage::Succeeding { .. } | Stage::Relieving { .. } | Stage::Leading { .. } => {}
            }
        }
        for (number, why) in overdue {
            self.end(number, Some(why), now, effects);
        }
        self.left_over.retain(|(pid, at)| {
            if *at <= now {
                effects.push(Effect::KillGroup(*pid));
            }
            *at > now
        });
        if self
            .generations
            .iter()
            .any(|it| matches!(it.stage, Stage::Succeeding { at_last } if at_last <= now))
        {
            self.succeed(now, effects);
        }
    }

    /// Starts a generation if one is wanted and there is room for it.
    fn begin_another(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.is_running() || self.last == Number(0) {
            return;
        }
        let on_duty = self.generations.iter().filter(|it| it.is_on_duty()).count();
        let alone = on_duty == 0;
        let due = self.retry_at.is_some_and(|at| at <= now);
        let leads_only = self.generations.len() == 1 && self.generations[0].is_leading();
        let wanted = match alone {
            true => (due || self.wanted) && self.generations.len() < 2,
            false => self.wanted && leads_only,
        };
        if !wanted {
            return;
        }
        let number = self.last.next();
        effects.push(Effect::Log(LogLine::Begun { next: number, serving: self.serving() }));
        if !alone {
            effects.push(Effect::Notify(Notification::Reloading));
        }
        effects.push(Effect::Spawn { number, alone });
        (self.last, self.wanted, self.retry_at) = (number, false, None);
        self.standing.begun(number, now);
        self.generations.push(Generation::new(number, self.settings.clone(), alone, now));
    }
}

impl Default for Takeover {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
