//! One client's socket: non-blocking reads and writes, nothing remembered.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, sendmsg, shutdown};

/// What a read brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// So many octets, at least one.
    Octets(usize),
    /// The peer will send nothing more (it may still read).
    Eof,
    /// Nothing now; an edge will follow.
    WouldBlock,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// A TCP peer's address and port.
    Ip(IpAddr, u16),
    /// A UNIX domain socket has no address worth telling.
    Unix,
    /// The peer was gone before its address could be asked for.
    Unknown,
}

impl Peer {
    /// The address as `REMOTE_ADDR` gives it: UNIX peers are `127.0.0.1`, peers that vanished `0.0.0.0` (Puma,
    /// `Client#peerip`).
    pub fn ip(&self) -> IpAddr {
        match *self {
            Peer::Ip(ip, _) => ip,
            Peer::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Peer::Unknown => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
}

impl Stream {
    /// Wraps a connected socket that is already non-blocking and close-on-exec.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Reads what is there into `buffer`, which must not be empty.
    ///
    /// # Errors
    ///
    /// The socket's own (`ECONNRESET`, …): the connection is lost.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            return match recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => Ok(Received::Eof),
                Ok(count) => Ok(Received::Octets(count)),
                Err(Errno::EAGAIN) => Ok(Received::WouldBlock),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }

    /// Writes as much of `octets` as the socket takes now; `None` when it takes nothing.
    ///
    /// # Errors
    ///
    /// The socket's own (`EPIPE`, `ECONNRESET`, …): the connection is lost.
    pub fn send(&self, octets: &[u8]) -> io::Result<Option<usize>> {
        taken(|| send(self.fd.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL))
    }

    /// Like [`Stream::send`] for a gathered list (`writev`).
    ///
    /// # Errors
    ///
    /// The socket's own: the connection is lost.
    pub fn send_gathered(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        taken(|| {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            sendmsg::<()>(self.fd.as_raw_fd(), slices, &[], flags, None)
        })
    }

    /// Sends up to `count` octets of `file` from `offset` without passing them through this process (sendfile(2)).
    /// `Some(0)` means that the file ended early.
    ///
    /// # Errors
    ///
    /// The socket's or the file's own.
    pub fn send_file(&self, file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<Option<usize>> {
        let mut offset = i64::try_from(offset).map_err(|_| io::Error::from(Errno::EOVERFLOW))?;
        // One call's worth: a larger count only makes a fast reader hold the calling thread for longer.
        let count = count.min(1 << 20);
        taken(|| nix::sys::sendfile::sendfile(&self.fd, file, Some(&mut offset), count))
    }

    /// Tells the peer that nothing more will be sent; reading goes on.
    pub fn finish_sending(&self) {
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Write);
    }

    /// Gives the socket up, to whoever hijacks the connection.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn taken(mut write: impl FnMut() -> nix::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        return match write() {
            Ok(count) => Ok(Some(count)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno.into()),
        };
    }
}
