//! The pipes between the master and its workers.
//!
//! All descriptors are close-on-exec: an application's own children get none,
//! and a hot restart begins with new ones.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

use super::ipc::{ForkCommand, Lines, MalformedMessage, WorkerMessage};

/// Makes the pipe on which all workers tell the master what happens.
///
/// # Errors
///
/// No descriptor is left.
pub fn worker_pipe() -> io::Result<(MessageReader, MessageWriter)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((MessageReader { fd: reader, lines: Lines::default() }, MessageWriter { fd: writer }))
}

/// Makes the pipe on which the master tells worker 0 what to fork.
///
/// # Errors
///
/// No descriptor is left.
pub fn fork_pipe() -> io::Result<(CommandReader, CommandWriter)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((CommandReader { fd: reader, lines: Lines::default() }, CommandWriter { fd: writer }))
}

/// Makes the pipe by whose end workers notice that the master is gone.
///
/// # Errors
///
/// No descriptor is left.
pub fn lifeline() -> io::Result<(Lifeline, MasterLives)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((Lifeline { fd: reader }, MasterLives { _fd: writer }))
}

/// The master's end of the worker pipe.
#[derive(Debug)]
pub struct MessageReader {
    fd: OwnedFd,
    lines: Lines,
}

impl MessageReader {
    /// All messages that have arrived; never waits.
    ///
    /// # Errors
    ///
    /// As read(2).
    pub fn read(&mut self) -> io::Result<Vec<Result<WorkerMessage, MalformedMessage>>> {
        let mut octets = [0; 4096];
        loop {
            match read(&self.fd, &mut octets) {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Ok(count) => self.lines.push(&octets[..count]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(std::iter::from_fn(|| self.lines.next_worker_message()).collect())
    }
}

impl AsFd for MessageReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A worker's end of the worker pipe; inherited by all of them.
#[derive(Debug)]
pub struct MessageWriter {
    fd: OwnedFd,
}

impl MessageWriter {
    /// Writes one message, whole or not at all; never waits.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the master has not read for so long that the pipe is full: a ping may be dropped, anything else
    /// should be tried again. `EPIPE` when the master is gone.
    pub fn send(&self, message: &WorkerMessage) -> io::Result<()> {
        send(&self.fd, &message.encode())
    }
}

impl AsFd for MessageWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The master's end of the fork pipe.
#[derive(Debug)]
pub struct CommandWriter {
    fd: OwnedFd,
}

impl CommandWriter {
    /// Writes one command; never waits.
    ///
    /// # Errors
    ///
    /// `EPIPE` when worker 0 is gone, `EAGAIN` when it has not read for very long. Neither needs an answer: the
    /// supervisor notices what does not happen.
    pub fn send(&self, command: ForkCommand) -> io::Result<()> {
        send(&self.fd, &command.encode())
    }
}

impl AsFd for CommandWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for CommandWriter {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

/// Worker 0's end of the fork pipe.
#[derive(Debug)]
pub struct CommandReader {
    fd: OwnedFd,
    lines: Lines,
}

impl CommandReader {
    /// The next command; never waits. `None` when the master is gone, or has made another worker 0.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when none has come: wait for the descriptor to be readable. `EINVAL` for what is no command. Otherwise
    /// as read(2).
    pub fn next_command(&mut self) -> io::Result<Option<ForkCommand>> {
        loop {
            if let Some(command) = self.lines.next_fork_command() {
                return command.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error));
            }
            let mut octets = [0; 512];
            match read(&self.fd, &mut octets)? {
                0 => return Ok(None),
                count => self.lines.push(&octets[..count]),
            }
        }
    }
}

impl AsFd for CommandReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A worker's end of the lifeline: it becomes readable when the master is gone,
/// and never before.
#[derive(Debug)]
pub struct Lifeline {
    fd: OwnedFd,
}

impl Lifeline {
    /// Whether the master is gone.
    pub fn is_cut(&self) -> bool {
        crate::sys::is_readable(self.fd.as_fd())
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The master's end of the lifeline. Every worker must drop its copy after the
/// fork, or the workers keep each other alive.
#[derive(Debug)]
pub struct MasterLives {
    _fd: OwnedFd,
}

/// Lines are shorter than `PIPE_BUF`: the kernel takes them whole or not at all.
fn send(fd: &OwnedFd, line: &str) -> io::Result<()> {
    loop {
        match write(fd, line.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Index, Pid, PlaceId};

    #[test]
    fn messages_come_in_order_and_nothing_waits() {
        let (mut reader, writer) = worker_pipe().unwrap();
        assert_eq!(reader.read().unwrap(), []);
        let pid = Pid::new(12).unwrap();
        let messages = [
            WorkerMessage::Booted { pid, index: Index(1) },
            WorkerMessage::WakeUp,
            WorkerMessage::GotTerm { pid },
        ];
        for message in &messages {
            writer.send(message).unwrap();
        }
        assert!(crate::sys::is_readable(reader.as_fd()));
        assert_eq!(reader.read().unwrap(), messages.map(Ok));
    }

    #[test]
    fn master_that_does_not_read_stops_no_worker() {
        let (mut reader, writer) = worker_pipe().unwrap();
        let refused = std::iter::repeat_with(|| writer.send(&WorkerMessage::WakeUp)).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        assert!(reader.read().unwrap().iter().all(|message| *message == Ok(WorkerMessage::WakeUp)));
    }

    #[test]
    fn worker_0_hears_commands_until_the_master_is_gone() {
        let (mut reader, writer) = fork_pipe().unwrap();
        assert_eq!(reader.next_command().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        writer.send(ForkCommand::Pause).unwrap();
        writer.send(ForkCommand::Fork(Index(2), PlaceId(3))).unwrap();
        drop(writer);
        assert_eq!(reader.next_command().unwrap(), Some(ForkCommand::Pause));
        assert_eq!(reader.next_command().unwrap(), Some(ForkCommand::Fork(Index(2), PlaceId(3))));
        assert_eq!(reader.next_command().unwrap(), None);
    }

    #[test]
    fn lifeline_tells_when_the_master_is_gone() {
        let (worker, master) = lifeline().unwrap();
        assert!(!worker.is_cut());
        drop(master);
        assert!(worker.is_cut());
    }
}
