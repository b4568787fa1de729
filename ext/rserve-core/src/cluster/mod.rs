//! The cluster: which workers should exist, and what they and the master say
//! to each other.
//!
//! Reading order: the vocabulary here, then [`Event`] and [`Effect`], then
//! [`Supervisor`], which turns one into the other; [`ipc`] is what the processes
//! say. None of these forks, signals, reads a descriptor or a clock; [`pipes`]
//! and [`Inbox`] are what the master waits for.
//! Between the workers, [`Balancer`] decides who takes a connection, by what
//! they show each other on the [`Board`], and which they pass on ([`Transfers`]).

mod balance;
mod bell;
mod board;
mod boot_backoff;
mod effect;
mod event;
mod gate;
mod inbox;
pub mod ipc;
mod large_turns;
mod mold;
mod options;
pub mod pipes;
mod server_stats;
pub mod signal;
mod supervisor;
mod transfer;
mod unclaimed;
mod worker_handle;
mod worker_set;

use std::fmt;

pub use balance::{Balancer, Load, Verdict};
pub use bell::Bell;
pub use board::{Board, Place};
pub use effect::{Effect, ExitReason, LifecycleEvent, LogLine, Signal, SpawnVia};
pub use event::{Command, Event, ExitStatus};
pub use gate::Gate;
pub use inbox::Inbox;
pub(crate) use large_turns::LargeTurns;
pub use options::{CullingStrategy, Options};
pub use server_stats::ServerStats;
pub use supervisor::Supervisor;
pub use transfer::{Ticket, Transfers};
pub use unclaimed::Unclaimed;
pub use worker_handle::WorkerHandle;

/// Position of a worker in the cluster, from 0; reused after a respawn.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Index(pub u32);

impl Index {
    /// The worker that forks all others under `fork_worker`.
    pub const MOLD: Index = Index(0);
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the phased restarts and reforks of the cluster, from 0; a worker
/// belongs to the phase it was forked in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Phase(pub u32);

impl Phase {
    pub(crate) fn next(self) -> Self {
        Phase(self.0 + 1)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process that may be signalled.
///
/// Always positive: zero and negative numbers name process groups to `kill(2)`,
/// and pids reach the master as text from its workers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pid(i32);

impl Pid {
    /// `None` unless `raw` is positive.
    pub fn new(raw: i32) -> Option<Self> {
        (raw > 0).then_some(Self(raw))
    }

    /// The number for `kill(2)` and `waitpid(2)`.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
