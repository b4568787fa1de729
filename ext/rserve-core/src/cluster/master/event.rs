//! What can happen to a cluster.

use std::fmt;

use crate::cluster::link::ipc::WorkerMessage;
use crate::cluster::{Index, Pid};

/// Something that happened, to be told to [`Supervisor::handle`](super::Supervisor::handle).
///
/// The caller tells the messages of the worker pipe *before* the exits it has
/// reaped, and both before [`Event::Tick`]: a ping that waited in the pipe while
/// the master was suspended then still counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The master is ready: listeners open, traps set, `before_fork` run.
    Start,
    /// [`Effect::Spawn`](super::Effect::Spawn) through the master worked; told before any other event.
    Spawned {
        /// The index that was asked for.
        index: Index,
        /// The new child.
        pid: Pid,
    },
    /// [`Effect::Spawn`](super::Effect::Spawn) through the master failed (`fork` returned an error).
    SpawnFailed {
        /// The index that was asked for.
        index: Index,
        /// The system's reason, for the log.
        reason: String,
    },
    /// A message from the worker pipe.
    Worker(WorkerMessage),
    /// [`Effect::Measure`](super::Effect::Measure) was carried out.
    Measured {
        /// Whose memory.
        pid: Pid,
        /// Its proportional set in octets; `None` when the system does not tell.
        octets: Option<u64>,
    },
    /// A child of the master was reaped, known or not.
    Exited {
        /// The child.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
    },
    /// A worker that worker 0 forked, which the master cannot reap, exists no more.
    Vanished {
        /// The grandchild.
        pid: Pid,
    },
    /// The operator wants something: a signal or the control server.
    Operator(Command),
    /// Time passed; see [`Supervisor::next_deadline`](super::Supervisor::next_deadline).
    Tick,
}

/// What an operator can ask of a running cluster, with its signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// TTIN: one worker more.
    AddWorker,
    /// TTOU: one worker less, down to one.
    RemoveWorker,
    /// USR1: replace the workers one at a time.
    PhasedRestart,
    /// URG: replace all workers but worker 0 by new children of worker 0.
    Refork,
    /// USR2: stop the workers, then execute the master anew with its listeners.
    Restart,
    /// HUP: reopen redirected output; stop when there is none.
    ReopenLogs,
    /// INT: stop gracefully, exit 0. A second one stops waiting for the workers.
    Stop,
    /// TERM: stop gracefully, die by the signal.
    Terminate,
    /// `halt` of the control server: leave now, the workers notice.
    Halt,
}

/// How a child ended; displays as Ruby's `Process::Status` does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// `exit` with this status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl ExitStatus {
    /// As a worker ends that is told to: with status 0, or by TERM before it has a trap.
    pub(super) fn is_graceful(self) -> bool {
        matches!(self, ExitStatus::Code(0) | ExitStatus::Signal(nix::libc::SIGTERM))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitStatus::Code(code) => write!(f, "exit {code}"),
            ExitStatus::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
                Ok(signal) => write!(f, "{signal} (signal {number})"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}
