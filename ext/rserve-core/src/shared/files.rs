//! Requests that are answered with files, without a thread of Ruby's.

use std::time::Instant;

use super::{Shared, Status};
use crate::connection::Connection;
use crate::connection::exchange::{Exchange, Outcome};

/// Requests of one connection that are answered before other connections get their turn.
const AT_ONCE: usize = 8;

impl Shared {
    /// Whether any requests are answered with files.
    pub(crate) fn has_files(&self) -> bool {
        self.site.is_some()
    }

    /// If a request of `exchange` is complete by `outcome`, answers it, and those that follow it, as long as they are for
    /// files. [`Outcome::Queue`] is of the first that is not.
    pub(crate) fn answer_with_files(
        &self,
        connection: &Connection,
        exchange: &mut Exchange,
        outcome: Outcome,
        now: Instant,
        hurries: bool,
    ) -> Outcome {
        let Some(site) = self.site.as_ref().filter(|_| outcome == Outcome::Queue) else { return outcome };
        for _ in 0..AT_ONCE {
            if !exchange.may_be_for_file(site, &self.options) {
                return Outcome::Queue;
            }
            if hurries {
                break;
            }
            let stays = self.status() == Status::Running;
            let Some(after) = exchange.answer_with_file(site, &self.options, connection.peer(), stays) else {
                return Outcome::Queue;
            };
            self.figures.count_file();
            self.touch(now);
            exchange.finish(after);
            match exchange.progress(&self.options, now) {
                Outcome::Queue => {}
                outcome => return outcome,
            }
        }
        exchange.leave_undecided();
        Outcome::Again
    }
}
