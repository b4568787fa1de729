//! What the keeper must do, as data.

use std::fmt;
use std::time::Duration;

use super::Number;
use super::message::Order;
use crate::cluster::Pid;
use crate::cluster::master::ExitStatus;

/// Something the caller must now do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start a generation, with all listeners, and tell [`Event::Spawned`](super::Event::Spawned) or
    /// [`Event::SpawnFailed`](super::Event::SpawnFailed) before anything else.
    Spawn {
        /// Its number.
        number: Number,
        /// No other one serves: it is to serve as soon as it can. Otherwise it waits for [`Order::Serve`].
        alone: bool,
    },
    /// Tell a generation; that it is gone is no error.
    Tell(Number, Order),
    /// Ask it for the path of [`Ready`](super::Ready), and tell [`Event::Probed`](super::Event::Probed).
    Probe(Number),
    /// End it now.
    Kill(Pid),
    /// End what is left of a generation whose master has ended.
    KillGroup(Pid),
    /// This generation's listeners are the server's from now on; those of others are closed.
    KeepListeners(Number),
    /// A generation is gone: what it alone listened on is closed.
    DropListeners(Number),
    /// New clients are to be refused.
    CloseListeners,
    /// Write one line to the log.
    Log(LogLine),
    /// Tell systemd.
    Notify(Notification),
    /// The figures have changed that all generations are to know, see [`Takeover::standing`](super::Takeover::standing).
    Publish,
    /// End as the server is to end. Nothing follows.
    Exit(ExitStatus),
}

/// What systemd is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notification {
    /// It serves; with a line if something went wrong on the way.
    Ready(Option<String>),
    /// Another generation boots.
    Reloading,
    /// It ends.
    Stopping,
}

/// A line of the log. `Display` is the text, without prefix and newline.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum LogLine {
    /// A restart begins.
    Begun { next: Number, serving: Option<Number> },
    /// The newer one serves.
    TakenOver { next: Number, last: Option<Number>, after: Duration },
    /// A generation did not make it.
    Failed { number: Number, why: String, serving: Option<Number>, retry_in: Option<Duration> },
    /// It had not proved itself yet.
    Superseded { number: Number },
    /// The generation that served ended by itself.
    Died { number: Number, pid: Pid, status: ExitStatus },
    /// A generation did not end in time.
    Killed { number: Number, pid: Pid },
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun { next, serving: Some(serving) } => {
                write!(f, "* Restarting: generation {next} boots, generation {serving} serves")
            }
            Self::Begun { next, serving: None } => write!(f, "* Starting generation {next}"),
            Self::TakenOver { next, last, after } => {
                write!(f, "* Generation {next} serves, after {:.1}s", after.as_secs_f64())?;
                last.map_or(Ok(()), |last| write!(f, "; generation {last} finishes its requests"))
            }
            Self::Failed { number, why, serving, retry_in } => {
                write!(f, "! Generation {number} failed {why}")?;
                if let Some(serving) = serving {
                    write!(f, "; generation {serving} serves on")?;
                }
                retry_in.map_or(Ok(()), |delay| write!(f, "; next attempt in {}s", delay.as_secs()))
            }
            Self::Superseded { number } => {
                write!(f, "* Generation {number} ends: a newer restart was asked for")
            }
            Self::Died { number, pid, status } => {
                write!(f, "! Generation {number} (PID: {pid}) died: {status}")
            }
            Self::Killed { number, pid } => {
                write!(f, "! Generation {number} (PID: {pid}) did not end in time: killed")
            }
        }
    }
}
