//! Listening sockets. Ruby owns the originals; a worker accepts on its own duplicates.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use crate::stream::{Peer, Stream};
use crate::tls;

/// A duplicate of one listening socket.
///
/// A duplicate, because an application may close the Ruby object behind our back (Puma's `test_closed_listener` does)
/// and its number would then soon belong to somebody else's file.
pub struct Listener {
    fd: OwnedFd,
    tls: Option<Arc<tls::Context>>,
    handshakes: Arc<tls::Handshakes>,
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
        Ok(Self { fd, tls, handshakes })
    }

    /// Whether a connection waits.
    pub fn is_readable(&self) -> bool {
        crate::sys::is_readable(self.fd.as_fd())
    }

    /// The next waiting connection.
    ///
    /// # Errors
    ///
    /// As accept4(2); `EAGAIN` when none waits.
    pub fn accept(&self) -> nix::Result<(Stream, Peer)> {
        let (fd, peer) = crate::sys::accept(self.fd.as_fd())?;
        let stream = match &self.tls {
            None => Stream::new(fd),
            // Out of memory: the next one may fare better.
            Some(context) => Stream::tls(fd, context, &self.handshakes).map_err(|_| Errno::ECONNABORTED)?,
        };
        Ok((stream, peer))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
