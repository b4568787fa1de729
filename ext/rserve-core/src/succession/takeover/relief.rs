//! How a generation that has proved itself takes over from the one that serves.

use std::time::Instant;

use super::generation::Stage;
use super::standing::Failure;
use super::{Course, Takeover};
use crate::succession::message::Order;
use crate::succession::{Effect, LogLine, Notification, Number};

impl Takeover {
    /// The next step from one generation's workers to the other's, when the last one is done.
    pub(super) fn relieve(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.course != Course::Running {
            return;
        }
        let Some(at) = self.generations.iter().position(|it| matches!(it.stage, Stage::Relieving { .. }))
        else {
            return;
        };
        let Some(old_at) = self.generations.iter().position(|it| it.is_leading()) else { return };
        let old = &self.generations[old_at];
        let new = &self.generations[at];
        let Stage::Relieving { taken, room_by } = new.stage else { return };
        if new.is_growing() || (room_by.is_some_and(|by| now < by) && old.is_shrinking()) {
            return;
        }
        let missing = new.settings.workers.saturating_sub(new.asked).min(new.settings.step);
        let (number, last) = (new.number, old.number);
        if missing == 0 {
            return self.ask_to_resign(number, last, now, effects);
        }
        let leaves = if room_by.is_some() { 0 } else { missing.min(old.asked.saturating_sub(1)) };
        if leaves > 0 {
            let room_by = Some(now + old.settings.drain);
            self.generations[old_at].asked -= leaves;
            self.generations[at].stage = Stage::Relieving { taken: taken + leaves, room_by };
            effects.push(Effect::Tell(last, Order::Shrink(leaves)));
        } else {
            self.generations[at].asked += missing;
            self.generations[at].stage = Stage::Relieving { taken, room_by: None };
            effects.push(Effect::Tell(number, Order::Grow(missing)));
        }
    }

    /// Hooks of the old one run before those of the new one.
    fn ask_to_resign(&mut self, number: Number, last: Number, now: Instant, effects: &mut Vec<Effect>) {
        for generation in &mut self.generations {
            let until = now + generation.settings.drain;
            match generation.number {
                it if it == number => generation.stage = Stage::Succeeding { at_last: until },
                it if it == last => generation.stage = Stage::Draining { until },
                _ => {}
            }
        }
        effects.push(Effect::Tell(last, Order::Drain));
    }

    /// The old one has resigned, or is gone: the other one leads, if it was waiting for that.
    pub(super) fn succeed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let waiting = self.generations.iter().find(|it| matches!(it.stage, Stage::Succeeding { .. }));
        if self.course != Course::Running {
            return;
        }
        if let Some(number) = waiting.map(|it| it.number) {
            let last = self.generations.iter().find(|it| it.number != number).map(|it| it.number);
            self.take_the_lead(number, last, now, effects);
        }
    }

    /// It is the one that serves from now on.
    pub(super) fn take_the_lead(
        &mut self,
        number: Number,
        last: Option<Number>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(generation) = self.get(number) else { return };
        generation.stage = Stage::Leading { since: now };
        let after = generation.age(now);
        effects.push(Effect::Tell(number, Order::Lead));
        self.grow_to_full(number, effects);
        self.lead(number, effects);
        effects.push(Effect::Log(LogLine::TakenOver { next: number, last, after }));
        self.finish(number, None, now, effects);
        if !self.wanted {
            effects.push(Effect::Notify(Notification::Ready(None)));
        }
    }

    /// Whatever the last one listened on that this one does not is closed.
    pub(super) fn lead(&mut self, number: Number, effects: &mut Vec<Effect>) {
        self.has_led = true;
        self.settings = self.settings_of(number).cloned().unwrap_or_default();
        self.standing.serves(number);
        effects.push(Effect::KeepListeners(number));
        effects.push(Effect::Publish);
    }

    pub(super) fn grow_to_full(&mut self, number: Number, effects: &mut Vec<Effect>) {
        let Some(generation) = self.get(number) else { return };
        let missing = generation.settings.workers.saturating_sub(generation.asked);
        if missing > 0 {
            generation.asked += missing;
            effects.push(Effect::Tell(number, Order::Grow(missing)));
        }
    }

    /// Workers that it had to give up for a generation that did not make it.
    pub(super) fn give_back(&mut self, taken: u32, effects: &mut Vec<Effect>) {
        if let Some(old) = self.leading()
            && taken > 0
        {
            old.asked += taken;
            effects.push(Effect::Tell(old.number, Order::Grow(taken)));
        }
    }

    /// A restart is over.
    pub(super) fn finish(
        &mut self,
        number: Number,
        failure: Option<Failure>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if self.standing.ended(number, failure, now) {
            effects.push(Effect::Publish);
        }
    }
}
