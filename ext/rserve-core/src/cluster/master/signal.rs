//! Signals to workers.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid as RawPid;

use super::Signal;
use crate::cluster::Pid;

/// Sends `signal`. A process that has ended meanwhile is no error: its exit follows.
pub fn send(pid: Pid, signal: Signal) {
    if let Err(errno) = kill(RawPid::from_raw(pid.as_raw()), Some(signal.into()))
        && errno != Errno::ESRCH
    {
        tracing::warn!(%pid, signal = signal.name(), %errno, "cannot signal a worker");
    }
}
