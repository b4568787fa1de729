//! The socket as OpenSSL reads and writes it.
//!
//! Where OpenSSL says several things in one step, each would be a send of its own: they are collected, and go out together
//! when the step is over, or in front of what is said next.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, sendmsg};

/// Octets that are collected at most: more than a handshake says, or a record has.
const COLLECTED_LIMIT: usize = 64 * 1024;

/// See the module.
pub(super) struct Socket {
    fd: OwnedFd,
    /// The peer has sent something.
    begun: bool,
    /// A read brought less than it could have: epoll(7) will tell when there is more, and asking is for nothing.
    drained: bool,
    /// The peer has sent its last octet: no edge tells.
    ended: bool,
    /// What is said now is collected.
    collects: bool,
    /// Octets of records that are still to be sent, before any other.
    collected: Vec<u8>,
    /// They wait for what is said next, not for the socket.
    kept: bool,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        let collected = Vec::new();
        Self { fd, begun: false, drained: false, ended: false, collects: false, collected, kept: false }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes note of the edges that epoll reported.
    pub(super) fn saw(&mut self, readable: bool, ended: bool) {
        if readable {
            self.drained = false;
        }
        self.ended |= ended;
    }

    /// From now on what is said is collected, or sent at once, behind what was collected.
    pub(super) fn collect(&mut self, collects: bool) {
        self.collects = collects;
    }

    /// What was collected waits for what is said next; `false` when there is nothing.
    pub(super) fn keep(&mut self) -> bool {
        self.kept = !self.collected.is_empty();
        self.kept
    }

    /// Something waits that the socket was not asked to take.
    pub(super) fn holds_back(&self) -> bool {
        self.kept
    }

    /// Something waits for the socket.
    pub(super) fn is_blocked(&self) -> bool {
        !self.collected.is_empty() && !self.kept
    }

    /// Sends what was collected; `true` when that is all out. What a connection that is lost does not take is forgotten.
    pub(super) fn send_collected(&mut self) -> io::Result<bool> {
        self.kept = false;
        while !self.collected.is_empty() {
            match send(self.fd.as_raw_fd(), &self.collected, FLAGS) {
                Ok(count) => self.sent(count),
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.sent(self.collected.len());
                    return Err(errno.into());
                }
            }
        }
        Ok(true)
    }

    fn sent(&mut self, count: usize) {
        match count == self.collected.len() {
            true => self.collected = Vec::new(),
            false => drop(self.collected.drain(..count)),
        }
    }
}

const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.drained && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        self.begun |= count > 0;
        self.drained = count < buffer.len();
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.collects && self.collected.len() + octets.len() <= COLLECTED_LIMIT {
            self.collected.extend_from_slice(octets);
            return Ok(octets.len());
        }
        if self.collected.is_empty() {
            return Ok(send(self.fd.as_raw_fd(), octets, FLAGS)?);
        }
        self.kept = false;
        let both = [IoSlice::new(&self.collected), IoSlice::new(octets)];
        let count = sendmsg::<()>(self.fd.as_raw_fd(), &both, &[], FLAGS, None)?;
        let before = self.collected.len();
        self.sent(count.min(before));
        match count.checked_sub(before) {
            None | Some(0) => Err(io::ErrorKind::WouldBlock.into()),
            Some(taken) => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
