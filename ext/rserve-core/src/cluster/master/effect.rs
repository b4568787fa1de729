//! What the master's loop must do, as data.

use std::fmt;
use std::time::Duration;

use nix::libc::SIGKILL;

use super::ExitStatus;
use super::retirement::LEAST_ROOM;
use crate::cluster::{Index, Phase, Pid, PlaceId, RetireReason};

/// Something the caller must now do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Fork a worker. Through the master: run `before_worker_fork`, fork, run
    /// `after_worker_fork` and tell [`Event::Spawned`](super::Event::Spawned) or
    /// [`Event::SpawnFailed`](super::Event::SpawnFailed) before anything else.
    /// Through the mold: send [`ForkCommand::Fork`](crate::cluster::link::ipc::ForkCommand::Fork)
    /// on the fork pipe and go on.
    ///
    /// Every spawn of index 0 gets a fresh fork pipe, so that a new mold never
    /// carries out what its predecessor left unread.
    Spawn {
        /// Free before; occupied from now on.
        index: Index,
        /// Where it shows its figures; free before, too.
        place: PlaceId,
        /// The phase that the worker will belong to.
        phase: Phase,
        /// Who forks.
        via: SpawnVia,
        /// The worker that it is to replace still serves at `index`. A mold's successor gets a fork pipe of its own, which is
        /// used from [`Effect::SwitchMold`] on.
        successor: bool,
    },
    /// The successor of worker 0 is the mold from now on, and the fork pipe is its own.
    SwitchMold,
    /// Tell a worker to be the mold, by the pipe that it has handed over. One that has none is sent TERM.
    Promote {
        /// Which.
        pid: Pid,
    },
    /// It is the mold from now on, and the fork pipe is its own.
    UseMold {
        /// Which.
        pid: Pid,
    },
    /// Find out how much memory a worker has, and tell [`Event::Measured`](super::Event::Measured).
    Measure {
        /// Whose.
        pid: Pid,
    },
    /// Tell worker 0 to finish its requests, stop serving and run `before_refork`.
    PauseMold,
    /// Tell worker 0 to serve (again).
    ResumeMold {
        /// Run `after_refork` first: set when a [`Effect::PauseMold`] ran `before_refork`.
        after_refork: bool,
    },
    /// Send a signal; `ESRCH` is not an error.
    Signal {
        /// To whom.
        pid: Pid,
        /// Which.
        signal: Signal,
    },
    /// Write one line to the log.
    Log(LogLine),
    /// Fire an event of the `Events` object.
    Fire(LifecycleEvent),
    /// Run the `after_worker_shutdown` hooks.
    RunAfterWorkerShutdown {
        /// The worker's index.
        index: Index,
        /// Where it showed its figures; free from now on.
        place: PlaceId,
        /// The worker's former pid.
        pid: Pid,
        /// The worker's phase.
        phase: Phase,
        /// How it ended.
        status: ExitStatus,
    },
    /// A worker that is no child of the master has ended, or serves no more: nobody shows figures there any more.
    Vacate {
        /// Where it showed them.
        place: PlaceId,
    },
    /// Log `+ Changing to <restart dir>` and change to it, so that new workers see new code.
    ChangeDirectory,
    /// Reopen the master's redirected output.
    ReopenLogs,
    /// Have the workers say goodbye to their clients (`Connection: close`), and go on serving: the end is near.
    Retire,
    /// Close the listeners of the application and the control server, so that new clients are refused.
    CloseListeners,
    /// Log `=== puma shutdown: <time> ===` and `- Goodbye!`.
    AnnounceShutdown,
    /// Log `- Gracefully shutting down workers...`: they are told after this.
    AnnounceWorkersStop,
    /// Hot restart: no worker is left, execute the master anew.
    Exec,
    /// Leave the loop. Nothing follows.
    Exit(ExitReason),
}

impl Effect {
    /// Tells the log that it is being carried out. A worker that is killed is a warning; lines of the log are told by
    /// themselves.
    pub fn tell(&self) {
        match self {
            Effect::Log(_) => {}
            Effect::Signal { pid, signal: Signal::Kill } => tracing::warn!(pid = %pid, "kills a worker"),
            effect => tracing::debug!(?effect, "carries out"),
        }
    }
}

/// Who forks a new worker. A mold that is not the master's child has children that are not either.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpawnVia {
    /// The master: the worker is its child.
    Master,
    /// Worker 0 under `fork_worker`, the mold under `refork_after`: the worker is not the master's child.
    Mold,
}

/// The signals that the master sends to workers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Reopen redirected output, or stop when there is none.
    Hup,
    /// End now.
    Kill,
    /// Finish what was accepted and exit.
    Term,
}

impl Signal {
    /// The name without `SIG`, as in Ruby and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Hup => "HUP",
            Signal::Kill => "KILL",
            Signal::Term => "TERM",
        }
    }
}

impl From<Signal> for nix::sys::signal::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Hup => Self::SIGHUP,
            Signal::Kill => Self::SIGKILL,
            Signal::Term => Self::SIGTERM,
        }
    }
}

/// What subscribers of the `Events` object hear of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LifecycleEvent {
    /// Every worker has booted and pinged, for the first time: `after_booted`.
    Booted,
    /// Every worker of a phased restart or refork has booted: `after_booted` again.
    PhaseBooted,
    /// A phased restart or refork begins: `before_restart` (only the event, not the hooks).
    PhaseBegun,
    /// The workers are gone for good: `after_stopped`.
    Stopped,
}

/// Why the master's loop ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitReason {
    /// Without waiting for the workers; exit 0.
    Halt,
    /// Gracefully; exit 0.
    Stop,
    /// Gracefully, after TERM: die by TERM unless `raise_exception_on_sigterm` is false.
    Terminate,
}

/// How far a worker had come when it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiedAt {
    /// It is tried again, after a time that grows with each attempt.
    BeforeBoot {
        /// How long until then.
        retry_in: Duration,
    },
    /// It had just booted, and not for the first time: as before.
    Boot {
        /// How long until then.
        retry_in: Duration,
    },
    /// It had served for a while.
    Work,
}

/// A line of the log. `Display` is the text, without prefix and newline; the
/// texts are Puma's wherever Puma has one, and users' log scrapers know them.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum LogLine {
    AllWorkersIdle,
    /// Not one of Puma's, as all that follows of molds: another worker has taken its place.
    BecomesMold {
        index: Index,
        pid: Pid,
    },
    Booted {
        index: Index,
        pid: Pid,
        uptime: Duration,
        phase: Phase,
    },
    /// The operator does not want to wait for the workers any longer.
    CancelledWaiting,
    /// Culled: there were more workers than asked for.
    Culled {
        index: Index,
        pid: Pid,
    },
    /// Not one of Puma's: a worker ended, and not as it was told to.
    Died {
        index: Index,
        pid: Pid,
        stage: DiedAt,
        /// `None` of a worker that is not the master's child.
        status: Option<ExitStatus>,
        /// Since it was forked.
        uptime: Duration,
        /// The master has sent the KILL that it died by.
        killed: bool,
    },
    /// The time-out kill of a worker that never booted; `pid` is the mold's when that never forked it.
    FailedToBoot {
        index: Index,
        pid: Pid,
        within: Duration,
    },
    FailedToCheckIn {
        index: Index,
        pid: Pid,
        within: Duration,
    },
    /// It was to be the mold.
    FailedToDrain {
        index: Index,
        pid: Pid,
        within: Duration,
    },
    /// `fork` failed; `reason` is the system's.
    FailedToFork {
        reason: String,
        retry_in: Duration,
    },
    /// The mold ended, and was not told to.
    MoldDied {
        pid: Pid,
        status: Option<ExitStatus>,
        uptime: Duration,
        killed: bool,
    },
    /// A message came from a worker that the master does not have.
    OutOfSync {
        pid: Pid,
    },
    PhasedRestartBegun {
        phase: Phase,
    },
    /// A worker has so much more memory than it may have that it does not wait for its replacement.
    EndsAtHardLimit {
        index: Index,
        pid: Pid,
        octets: u64,
        hard: u64,
    },
    MemoryLimitRefused {
        index: Index,
        pid: Pid,
        octets: u64,
        limit: u64,
    },
    MemoryUnknown {
        index: Index,
        pid: Pid,
    },
    ReapedUnknown {
        pid: Pid,
        status: ExitStatus,
    },
    ReforkBegun {
        phase: Phase,
    },
    /// URG without `fork_worker`.
    ReforkUnavailable,
    /// It is to be replaced, and serves until then.
    Retires {
        index: Index,
        pid: Pid,
        why: Retirement,
    },
    ShutdownDelayed {
        delay: Duration,
    },
    StoppingForPhase {
        pid: Pid,
    },
    StoppingForRefork {
        pid: Pid,
    },
    StoppingImmediately,
    StoppingMold {
        pid: Pid,
    },
    StoppingReplaced {
        pid: Pid,
    },
    TermSent {
        pid: Pid,
    },
}

/// Why a worker is replaced, with the figures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum Retirement {
    Age {
        age: Duration,
    },
    HungRequest,
    Memory {
        octets: u64,
        limit: u64,
    },
    /// It is to be the mold.
    Mold {
        count: u64,
    },
    Requests {
        count: u64,
    },
    /// It has asked for it, and not said more.
    Asked {
        reason: RetireReason,
    },
}

impl fmt::Display for Retirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Age { age } => write!(f, "it is {} old", Rounded(age)),
            Self::HungRequest => f.write_str("it has a request that hangs"),
            Self::Memory { octets, limit } => {
                write!(f, "it has {} of memory, more than {}", Megabytes(octets), Megabytes(limit))
            }
            Self::Mold { count } => write!(f, "it has served {count} requests, and is to be the mold"),
            Self::Requests { count } => write!(f, "it has served {count} requests"),
            Self::Asked { reason } => write!(f, "it asks for it ({})", reason.name()),
        }
    }
}

/// Octets as operators write them: `512 MB`.
struct Megabytes(u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB", (self.0 + (1 << 19)) >> 20)
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllWorkersIdle => write!(f, "- All workers reached idle timeout"),
            Self::BecomesMold { index, pid } => {
                write!(f, "- Worker {index} (PID: {pid}) finishes its requests, to be the mold")
            }
            Self::Booted { index, pid, uptime, phase } => {
                write!(f, "- Worker {index} (PID: {pid}) booted in {}, phase: {phase}", Rounded(*uptime))
            }
            Self::CancelledWaiting => write!(f, "! Cancelled waiting for workers"),
            Self::Culled { index, pid } => write!(f, "- Worker {index} (PID: {pid}) terminating"),
            Self::Died { index, pid, stage, status, uptime, killed } => {
                write!(f, "! Worker {index} (PID: {pid}) died")?;
                match stage {
                    DiedAt::BeforeBoot { retry_in } => {
                        write!(f, " before it had booted, next attempt in {}s", retry_in.as_secs())?;
                    }
                    DiedAt::Boot { retry_in } => {
                        write!(f, " as soon as it had booted, next attempt in {}s", retry_in.as_secs())?;
                    }
                    DiedAt::Work => {}
                }
                how_it_ended(f, *status, *uptime, *killed)
            }
            Self::EndsAtHardLimit { index, pid, octets, hard } => write!(
                f,
                "! Worker {index} (PID: {pid}) has {} of memory, more than the hard limit of {}: it ends before its replacement boots",
                Megabytes(*octets),
                Megabytes(*hard)
            ),
            Self::FailedToBoot { index, pid, within } => {
                let seconds = within.as_secs();
                write!(
                    f,
                    "! Terminating timed out worker (Worker {index} failed to boot within {seconds} seconds): {pid}"
                )
            }
            Self::FailedToCheckIn { index, pid, within } => {
                let seconds = within.as_secs();
                write!(
                    f,
                    "! Terminating timed out worker (Worker {index} failed to check in within {seconds} seconds): {pid}"
                )
            }
            Self::FailedToDrain { index, pid, within } => write!(
                f,
                "! Terminating worker {index}, which was to be the mold and has not finished its requests within {} seconds: {pid}",
                within.as_secs()
            ),
            Self::FailedToFork { reason, retry_in } => {
                write!(f, "! Unable to start worker: {reason}, next attempt in {}s", retry_in.as_secs())
            }
            Self::MemoryLimitRefused { index, pid, octets, limit } => write!(
                f,
                "! worker_max_memory of {} is not used: worker {index} (PID: {pid}) has {} as soon as it has booted; at least {} would do",
                Megabytes(*limit),
                Megabytes(*octets),
                Megabytes(((*octets as f64 * LEAST_ROOM) as u64).div_ceil(1 << 20) << 20)
            ),
            Self::MemoryUnknown { index, pid } => write!(
                f,
                "! worker_max_memory is not used: the memory of worker {index} (PID: {pid}) cannot be read from /proc/{pid}/smaps_rollup"
            ),
            Self::MoldDied { pid, status, uptime, killed } => {
                write!(f, "! The mold (PID: {pid}) died")?;
                how_it_ended(f, *status, *uptime, *killed)
            }
            Self::OutOfSync { pid } => write!(f, "! Out-of-sync worker list, no {pid} worker"),
            Self::PhasedRestartBegun { phase } => {
                write!(f, "- Starting phased worker restart, phase: {phase}")
            }
            Self::ReapedUnknown { pid, status } => {
                write!(f, "! reaped unknown child process pid={pid} status=pid {pid} {status}")
            }
            Self::ReforkBegun { phase } => write!(f, "- Starting worker refork, phase: {phase}"),
            Self::ReforkUnavailable => write!(f, "* refork called but not available."),
            Self::Retires { index, pid, why } => {
                write!(f, "- Worker {index} (PID: {pid}) is replaced: {why}")
            }
            Self::ShutdownDelayed { delay } => {
                write!(f, "- Serving for {}s more, then shutting down", delay.as_secs_f64())
            }
            Self::StoppingForPhase { pid } => write!(f, "- Stopping {pid} for phased upgrade..."),
            Self::StoppingForRefork { pid } => write!(f, "- Stopping {pid} for refork..."),
            Self::StoppingImmediately => write!(f, "* Stopping immediately!"),
            Self::StoppingMold { pid } => write!(f, "- Stopping {pid}, another one is the mold..."),
            Self::StoppingReplaced { pid } => write!(f, "- Stopping {pid}, its replacement serves..."),
            Self::TermSent { pid } => write!(f, "- TERM sent to {pid}..."),
        }
    }
}

fn how_it_ended(
    f: &mut fmt::Formatter<'_>,
    status: Option<ExitStatus>,
    uptime: Duration,
    killed: bool,
) -> fmt::Result {
    match status {
        None => f.write_str(": how is not known (another worker forked it)")?,
        Some(status) => write!(f, ": {status}")?,
    }
    write!(f, ", up {}", Rounded(uptime))?;
    match status {
        Some(ExitStatus::Signal(SIGKILL)) if killed => f.write_str(", killed by the master"),
        Some(ExitStatus::Signal(SIGKILL)) => f.write_str(", perhaps out of memory"),
        _ => Ok(()),
    }
}

/// Seconds as Ruby prints `seconds.round(2)`: `0.0s`, `0.04s`, `1.2s`.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0.as_secs_f64() * 100.0).round();
        write!(f, "{:?}s", hundredths / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_line_rounds_as_ruby_does() {
        for (millis, want) in [(0, "0.0s"), (4, "0.0s"), (38, "0.04s"), (1_200, "1.2s"), (61_000, "61.0s")] {
            assert_eq!(Rounded(Duration::from_millis(millis)).to_string(), want, "{millis} ms");
        }
    }

    #[test]
    fn death_says_by_what_and_after_how_long() {
        let (again, second) = (Duration::from_secs(4), Duration::from_millis(1_200));
        let (exit, kill) = (Some(ExitStatus::Code(3)), Some(ExitStatus::Signal(9)));
        for (stage, status, killed, want) in [
            (DiedAt::Work, exit, false, "died: exit 3, up 1.2s"),
            (DiedAt::Work, Some(ExitStatus::Signal(11)), false, "died: SIGSEGV (signal 11), up 1.2s"),
            (DiedAt::Work, kill, false, "died: SIGKILL (signal 9), up 1.2s, perhaps out of memory"),
            (DiedAt::Work, kill, true, "died: SIGKILL (signal 9), up 1.2s, killed by the master"),
            (DiedAt::Work, None, false, "died: how is not known (another worker forked it), up 1.2s"),
            (
                DiedAt::BeforeBoot { retry_in: again },
                exit,
                false,
                "died before it had booted, next attempt in 4s: exit 3, up 1.2s",
            ),
            (
                DiedAt::Boot { retry_in: again },
                exit,
                false,
                "died as soon as it had booted, next attempt in 4s: exit 3, up 1.2s",
            ),
        ] {
            let (index, pid) = (Index(2), Pid::new(7).unwrap());
            let line = LogLine::Died { index, pid, stage, status, uptime: second, killed };
            assert_eq!(line.to_string(), format!("! Worker 2 (PID: 7) {want}"));
        }
    }

    #[test]
    fn exit_status_reads_as_in_ruby() {
        let pid = Pid::new(7).unwrap();
        for (status, want) in [
            (ExitStatus::Code(0), "! reaped unknown child process pid=7 status=pid 7 exit 0"),
            (ExitStatus::Signal(9), "! reaped unknown child process pid=7 status=pid 7 SIGKILL (signal 9)"),
        ] {
            assert_eq!(LogLine::ReapedUnknown { pid, status }.to_string(), want);
        }
    }
}
