//! How traps, other threads and workers wake the master.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Command;
use crate::cluster::link::Bell;

/// Commands for the master, and the bell that makes it look.
///
/// The lock is held for no longer than a push or a pop and never while Ruby runs, so a trap cannot meet it locked.
#[derive(Debug)]
pub struct Inbox {
    bell: Bell,
    commands: Mutex<VecDeque<Command>>,
}

impl Inbox {
    /// An empty inbox.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { bell: Bell::new()?, commands: Mutex::default() })
    }

    /// Leaves a command and rings.
    pub fn push(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(command);
        self.ring();
    }

    /// Makes [`Inbox::wait`] return, now or the next time; see [`Bell::ring`].
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Stops the bell and takes what was left, in order.
    pub fn take(&self) -> VecDeque<Command> {
        // Before the look: what is pushed after it rings again.
        self.bell.stop();
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a command or a ring, for any of `others` to be readable, for a signal, or until `deadline`; to be
    /// called without the GVL.
    ///
    /// # Errors
    ///
    /// As [`Bell::wait`].
    pub fn wait(&self, others: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<()> {
        self.bell.wait(others, Some(deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::cluster::link::ipc::WorkerMessage;
    use crate::cluster::link::pipes::worker_pipe;

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
