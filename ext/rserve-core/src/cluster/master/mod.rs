//! The master's decisions.
//!
//! Reading order: [`Event`] and [`Effect`], then [`Supervisor`], which turns one into the other. None of these forks,
//! signals, reads a descriptor or a clock; [`Inbox`] is what the master waits for, [`signal`] and [`Unclaimed`] are its
//! hands.

mod boot_backoff;
mod effect;
mod event;
mod inbox;
mod mold;
mod options;
mod retirement;
pub mod signal;
mod supervisor;
mod unclaimed;
mod worker_handle;
mod worker_set;

pub use effect::{DiedAt, Effect, ExitReason, LifecycleEvent, LogLine, Retirement, Signal, SpawnVia};
pub use event::{Command, Event, ExitStatus};
pub use inbox::Inbox;
pub use options::{CullingStrategy, Options};
pub use retirement::{MemoryLimit, RetirementOptions};
pub use supervisor::Supervisor;
pub use unclaimed::Unclaimed;
pub use worker_handle::WorkerHandle;
