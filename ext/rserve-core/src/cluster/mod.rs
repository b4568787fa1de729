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

/// Where a worker shows its figures in the memory that all workers share: at its index, unless the worker that it
/// replaces is still there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PlaceId(pub u32);

impl From<Index> for PlaceId {
    fn from(index: Index) -> Self {
        PlaceId(index.0)
    }
}

impl fmt::Display for PlaceId {
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

/// Why a worker is replaced by another one, and serves until that is there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RetireReason {
    /// It is as old as `worker_lifetime` lets it be.
    Age,
    /// It has a request that will never end.
    HungRequest,
    /// It has more memory than `worker_max_memory`.
    Memory,
    /// It is to be the mold (`refork_after`).
    Mold,
    /// It has served as many requests as `max_requests`.
    Requests,
}

impl RetireReason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Age, Self::HungRequest, Self::Memory, Self::Mold, Self::Requests];

    /// One word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::HungRequest => "hung_request",
            Self::Memory => "memory",
            Self::Mold => "mold",
            Self::Requests => "requests",
        }
    }

    /// The reason of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}
