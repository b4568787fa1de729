//! How traps, other threads and workers wake the master.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Command;

/// Commands for the master, and the bell that makes it look.
///
/// The lock is held for no longer than a push or a pop and never while Ruby runs, so a trap cannot meet it locked.
#[derive(Debug)]
pub struct Inbox {
    bell: EventFd,
    commands: Mutex<VecDeque<Command>>,
}

impl Inbox {
    /// An empty inbox.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { bell, commands: Mutex::default() })
    }

    /// Leaves a command and rings.
    pub fn push(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(command);
        self.ring();
    }

    /// Makes [`Inbox::wait`] return, now or the next time. One `write(2)`: allowed anywhere, a signal handler included.
    pub fn ring(&self) {
        // Fails only when the counter is at its end, and then the bell is ringing.
        let _ = self.bell.write(1);
    }

    /// Stops the bell and takes what was left, in order.
    pub fn take(&self) -> VecDeque<Command> {
        // Before the look: what is pushed after it rings again.
        let _ = self.bell.read();
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the bell, for any of `others` to be readable, for a signal, or until `deadline`; to be called without
    /// the GVL.
    ///
    /// # Errors
    ///
    /// As poll(2), but for `EINTR`, which ends the wait like the bell.
    pub fn wait(&self, others: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<()> {
        let bell = self.bell.as_fd();
        let mut fds: Vec<PollFd<'_>> =
            std::iter::once(&bell).chain(others).map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, until(deadline)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Rounded up: a wait that ended before its deadline would be repeated for nothing.
fn until(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = (left + Duration::from_nanos(999_999)).as_millis();
    i32::try_from(millis)
        .ok()
        .and_then(|millis| PollTimeout::try_from(millis).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ipc::WorkerMessage;
    use crate::cluster::pipes::worker_pipe;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn commands_come_in_order_and_wake_the_master() {
        let inbox = Inbox::new().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                inbox.push(Command::AddWorker);
                inbox.push(Command::Stop);
            });
            let mut heard = Vec::new();
            while heard.len() < 2 {
                inbox.wait(&[], start + LONG).unwrap();
                heard.extend(inbox.take());
            }
            assert_eq!(heard, [Command::AddWorker, Command::Stop]);
        });
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn bell_that_rang_before_the_wait_is_heard_once() {
        let inbox = Inbox::new().unwrap();
        inbox.ring();
        inbox.ring();
        let start = Instant::now();
        inbox.wait(&[], start + LONG).unwrap();
        assert!(start.elapsed() < LONG);
        assert!(inbox.take().is_empty());
        let deadline = Instant::now() + Duration::from_millis(20);
        inbox.wait(&[], deadline).unwrap();
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn message_of_a_worker_wakes_the_master() {
        let inbox = Inbox::new().unwrap();
        let (reader, writer) = worker_pipe().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| writer.send(&WorkerMessage::WakeUp));
            inbox.wait(&[reader.as_fd()], start + LONG).unwrap();
        });
        assert!(start.elapsed() < LONG);
    }
}
