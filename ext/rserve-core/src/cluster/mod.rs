//! The cluster: which workers should exist, what they and the master say to each other, and which worker takes a connection.
//!
//! Below is the vocabulary of all three; none of them imports another, but [`master`] what is said by [`link`].

pub mod balance;
pub mod link;
pub mod master;

use std::fmt;

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
