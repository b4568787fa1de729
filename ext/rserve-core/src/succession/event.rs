//! What can happen to a keeper.

use super::Number;
use super::message::{Forwarded, Report};
use crate::cluster::Pid;
use crate::cluster::master::ExitStatus;

/// Something that happened, to be told to [`Takeover::handle`](super::Takeover::handle).
///
/// The caller tells what generations have reported *before* the exits it has reaped, and both before [`Event::Tick`]: a
/// generation's last words say why it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first generation, which exists already.
    Begun(Pid),
    /// [`Effect::Spawn`](super::Effect::Spawn) worked; told before any other event.
    Spawned {
        /// As asked for.
        number: Number,
        /// The new child.
        pid: Pid,
    },
    /// [`Effect::Spawn`](super::Effect::Spawn) failed.
    SpawnFailed {
        /// As asked for.
        number: Number,
        /// The system's reason.
        reason: String,
    },
    /// A generation says something.
    Heard(Number, Report),
    /// What [`Effect::Probe`](super::Effect::Probe) has brought; the error is what there was instead of a response below
    /// 400.
    Probed(Number, Result<(), String>),
    /// A child was reaped, known or not.
    Exited {
        /// The child.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
    },
    /// The operator wants something.
    Operator(Request),
    /// Time passed; see [`Takeover::next_deadline`](super::Takeover::next_deadline).
    Tick,
}

/// What an operator can ask of a server that has a keeper.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// USR2, USR1: start another generation.
    Restart,
    /// INT: stop; a second one waits for nothing.
    Interrupt,
    /// TERM: stop, and die by it.
    Terminate,
    /// `halt` of the control server, QUIT: end at once.
    Halt,
    /// A signal that is the serving generation's affair.
    Forward(Forwarded),
}
