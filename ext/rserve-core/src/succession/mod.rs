//! The keeper and its generations: an overlapping restart.
//!
//! The keeper is the process that was started. It loads no application: it keeps the pid, the listeners, the pid file and
//! systemd's messages, and starts generations. A generation is a master with its workers, from one reading of the
//! configuration. The next one proves itself before the last one goes.
//!
//! Reading order: [`Event`] and [`Effect`], then [`Takeover`], which turns one into the other: pure, as the supervisor of a
//! cluster is. [`message`] is what a keeper and its generations say to each other, [`keeper`] the loop that carries effects
//! out.

mod channel;
mod effect;
mod event;
mod inheritance;
pub mod keeper;
pub mod message;
mod notify;
mod probe;
mod settings;
mod takeover;

use std::fmt;

pub use channel::Channel;
pub use effect::{Effect, LogLine, Notification};
pub use event::{Event, Request};
pub use settings::{Ready, Settings};
pub use takeover::{Standing, Takeover};

/// Counts the generations of one keeper, from 1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Number(pub u32);

impl Number {
    /// The one that the keeper began with.
    pub const FIRST: Self = Self(1);

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
