//! Where connections come from: listening sockets, of which Ruby owns the originals and a worker accepts on its own
//! duplicates, and the queue of those that other workers pass on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::transfer::{Ticket, Transfers};
use crate::net::Peer;
use crate::net::stream::Stream;
use crate::net::tls;
use crate::sys::{Packets, errno_of};

/// See the module.
///
/// Of a listening socket a duplicate, because an application may close the Ruby object behind our back (Puma's
/// `test_closed_listener` does) and its number would then soon belong to somebody else's file.
pub struct Listener(Source);

enum Source {
    Socket { fd: OwnedFd, tls: Option<Arc<tls::Context>>, handshakes: Arc<tls::Handshakes> },
    Transfers(Arc<Transfers>),
    Door(Packets),
}

/// A connection that was taken.
pub struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    /// Of one that another worker passed on.
    pub(crate) ticket: Option<Ticket>,
}

impl Listener {
    /// Duplicates the listening socket `fd` and makes it non-blocking. Its clients are to speak TLS if `tls` is given;
    /// then their handshakes are counted among `handshakes`.
    ///
    /// # Errors
    ///
    /// `fd` is not an open descriptor, or no descriptor is left.
    pub fn duplicate(
        fd: RawFd,
        tls: Option<Arc<tls::Context>>,
        handshakes: Arc<tls::Handshakes>,
    ) -> io::Result<Self> {
        let fd = crate::sys::duplicate(fd)?;
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        // Accepted sockets inherit it; every response leaves in as few segments as it can anyway, and the parts of a
        // streamed one must not wait for the client's delayed ACK. Fails on UNIX sockets, where nothing waits.
        let _ = setsockopt(&fd, sockopt::TcpNoDelay, &true);
        Ok(Self(Source::Socket { fd, tls, handshakes }))
    }

    /// Connections that other workers pass on.
    pub fn of_transfers(transfers: Arc<Transfers>) -> Self {
        Self(Source::Transfers(transfers))
    }

    /// Connections that another process, the keeper, passes in through the socket `fd`, of which this is a duplicate.
    ///
    /// # Errors
    ///
    /// `fd` is not an open descriptor, or no descriptor is left.
    pub fn door(fd: RawFd) -> io::Result<Self> {
        Ok(Self(Source::Door(Packets::new(crate::sys::duplicate(fd)?))))
    }

    /// Whether a connection waits.
    pub fn is_readable(&self) -> bool {
        crate::sys::is_readable(self.as_fd())
    }

    /// The next waiting connection.
    ///
    /// # Errors
    ///
    /// As accept4(2); `EAGAIN` when none waits.
    pub fn accept(&self) -> nix::Result<Accepted> {
        match &self.0 {
            Source::Socket { fd, tls, handshakes } => {
                let (fd, peer) = crate::sys::accept(fd.as_fd())?;
                let stream = match tls {
                    None => Stream::new(fd),
                    // Out of memory: the next one may fare better.
                    Some(context) => Stream::tls(fd, context, handshakes).map_err(|_| Errno::ECONNABORTED)?,
                };
                Ok(Accepted { stream, peer, ticket: None })
            }
            Source::Door(door) => {
                let (_, files) = door.receive(&mut [0; 64]).map_err(|error| errno_of(&error))?;
                let fd = files.into_iter().next().ok_or(Errno::EAGAIN)?;
                Ok(Accepted { stream: Stream::new(fd), peer: Peer::Unix, ticket: None })
            }
            Source::Transfers(transfers) => {
                let (fd, ticket) = transfers.take()?;
                Ok(Accepted { stream: Stream::new(fd), peer: ticket.peer, ticket: Some(ticket) })
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Socket { fd, .. } => fd.as_fd(),
            Source::Door(door) => door.as_fd(),
            Source::Transfers(transfers) => transfers.as_fd(),
        }
    }
}
