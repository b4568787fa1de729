//! One client's socket: non-blocking reads and writes, nothing remembered.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, sendmsg, shutdown};
use rserve_http2::Reason;

use super::edges::{ENDED, READABLE, WRITABLE};
use super::http2::Lane;
use super::tls::stream::TlsStream;
use super::tls::{self, Fault, Handshakes};
use crate::sys::{self, PeerState};

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

/// A connected, non-blocking stream socket, with TLS on it or without.
pub struct Stream(Kind);

enum Kind {
    Plain(OwnedFd),
    Tls(Box<TlsStream>),
    /// One stream of a connection that speaks HTTP/2: it is only written to.
    Http2(Box<Lane>),
}

impl Stream {
    /// Wraps a connected socket that is already non-blocking and close-on-exec.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Kind::Plain(fd))
    }

    /// As [`Stream::new`], for a client that is to speak TLS. The handshake is done by reading, and counted among
    /// `handshakes`.
    ///
    /// # Errors
    ///
    /// No memory is left.
    pub fn tls(fd: OwnedFd, context: &tls::Context, handshakes: &Arc<Handshakes>) -> io::Result<Self> {
        let ssl = context.begin().map_err(io::Error::other)?;
        Ok(Self(Kind::Tls(Box::new(TlsStream::new(ssl, fd, Arc::clone(handshakes))?))))
    }

    /// One stream of a connection that speaks HTTP/2.
    pub(crate) fn http2(lane: Lane) -> Self {
        Self(Kind::Http2(Box::new(lane)))
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(_) => true,
            Kind::Http2(lane) => lane.is_tls(),
        }
    }

    /// Whether it is one of several on a connection.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.0, Kind::Http2(_))
    }

    /// The client has chosen HTTP/2 for this connection (ALPN).
    pub(crate) fn chose_http2(&self) -> bool {
        matches!(&self.0, Kind::Tls(tls) if tls.chose_http2())
    }

    /// Reads what is there into `buffer`, which must not be empty.
    ///
    /// # Errors
    ///
    /// The socket's own (`ECONNRESET`, …): the connection is lost. With TLS also what [`Stream::take_fault`] tells.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let fd = match &mut self.0 {
            Kind::Plain(fd) => fd.as_raw_fd(),
            Kind::Tls(tls) => return tls.receive(buffer),
            Kind::Http2(_) => return Ok(Received::WouldBlock),
        };
        loop {
            return match recv(fd, buffer, MsgFlags::MSG_DONTWAIT) {
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
    pub fn send(&mut self, octets: &[u8]) -> io::Result<Option<usize>> {
        match &mut self.0 {
            Kind::Plain(fd) => {
                taken(|| send(fd.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL))
            }
            Kind::Tls(tls) => tls.send(octets),
            Kind::Http2(lane) => lane.send_gathered(&[IoSlice::new(octets)]),
        }
    }

    /// As [`Stream::send`], of octets that others follow at once: they may wait for those, to go out together.
    ///
    /// # Errors
    ///
    /// The socket's own: the connection is lost.
    pub fn send_before_more(&mut self, octets: &[u8]) -> io::Result<Option<usize>> {
        match &mut self.0 {
            Kind::Plain(fd) => taken(|| {
                let more = MsgFlags::from_bits_retain(nix::libc::MSG_MORE);
                send(fd.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL | more)
            }),
            Kind::Tls(tls) => tls.send(octets),
            Kind::Http2(lane) => lane.send_gathered(&[IoSlice::new(octets)]),
        }
    }

    /// Like [`Stream::send`] for a gathered list (`writev`).
    ///
    /// # Errors
    ///
    /// The socket's own: the connection is lost.
    pub fn send_gathered(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        match &mut self.0 {
            Kind::Plain(fd) => taken(|| {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                sendmsg::<()>(fd.as_raw_fd(), slices, &[], flags, None)
            }),
            Kind::Tls(tls) => tls.send_gathered(slices),
            Kind::Http2(lane) => lane.send_gathered(slices),
        }
    }

    /// As [`Stream::send`], of octets behind which [`Stream::flush`] follows at once: with TLS they wait for it.
    ///
    /// # Errors
    ///
    /// The socket's own: the connection is lost.
    pub(crate) fn send_last(&mut self, octets: &[u8]) -> io::Result<Option<usize>> {
        match &mut self.0 {
            Kind::Tls(tls) => tls.send_last(octets),
            Kind::Plain(_) | Kind::Http2(_) => self.send(octets),
        }
    }

    /// What ended a TLS handshake waits for the response: `true` once, for who then has it flushed soon.
    pub(crate) fn take_held(&mut self) -> bool {
        match &mut self.0 {
            Kind::Tls(tls) => tls.take_held(),
            Kind::Plain(_) | Kind::Http2(_) => false,
        }
    }

    /// Whether something waits that the socket was not asked to take.
    pub(crate) fn holds_back(&self) -> bool {
        matches!(&self.0, Kind::Tls(tls) if tls.holds_back())
    }

    /// Sends up to `count` octets of `file` from `offset`, without TLS by sendfile(2). `Some(0)` means that the file
    /// ended early.
    ///
    /// # Errors
    ///
    /// The socket's or the file's own.
    pub fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<Option<usize>> {
        let fd = match &mut self.0 {
            Kind::Plain(fd) => fd,
            Kind::Tls(tls) => return tls.send_file(file, offset, count),
            Kind::Http2(lane) => return lane.send_file(file, offset, count),
        };
        let mut offset = i64::try_from(offset).map_err(|_| io::Error::from(Errno::EOVERFLOW))?;
        // One call's worth: a larger count only makes a fast reader hold the calling thread for longer.
        let count = count.min(1 << 20);
        taken(|| nix::sys::sendfile::sendfile(&*fd, file, Some(&mut offset), count))
    }

    /// Whether the socket has all that was taken; sends more of it.
    ///
    /// # Errors
    ///
    /// The socket's own: the connection is lost.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Kind::Plain(_) | Kind::Http2(_) => Ok(true),
            Kind::Tls(tls) => tls.flush(),
        }
    }

    /// Whether the socket has all that was taken.
    pub(crate) fn is_flushed(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) | Kind::Http2(_) => true,
            Kind::Tls(tls) => tls.is_flushed(),
        }
    }

    /// All has been sent, or will be by [`Stream::flush`]: with TLS, `true`, the peer gets close_notify with that.
    pub(crate) fn conclude(&mut self) -> bool {
        match &mut self.0 {
            Kind::Tls(tls) => tls.conclude(),
            Kind::Plain(_) | Kind::Http2(_) => false,
        }
    }

    /// Tells the peer that nothing more will be sent; reading goes on, for octets that nobody wants.
    pub fn finish_sending(&mut self) {
        self.finish();
        if let Some(socket) = self.socket() {
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
        }
    }

    /// The connection ends here by intention; with TLS the peer gets close_notify.
    pub fn finish(&mut self) {
        match &mut self.0 {
            Kind::Plain(_) => {}
            Kind::Tls(tls) => tls.finish(),
            Kind::Http2(lane) => lane.finish(),
        }
    }

    /// It ends here before its time, which the socket itself will show when it is closed.
    pub(crate) fn abort(&mut self) {
        if let Kind::Http2(lane) = &mut self.0 {
            lane.abort(Reason::InternalError);
        }
    }

    /// A read that brought less than it could means that the socket is empty (epoll(7)); with TLS it means nothing.
    pub(crate) fn short_read_drains(&self) -> bool {
        matches!(self.0, Kind::Plain(_))
    }

    /// The next read is a step of a TLS handshake.
    pub(crate) fn awaits_handshake(&self) -> bool {
        matches!(&self.0, Kind::Tls(tls) if tls.awaits_handshake())
    }

    /// A TLS client has begun its handshake and is not through.
    pub(crate) fn in_handshake(&self) -> bool {
        matches!(&self.0, Kind::Tls(tls) if tls.in_handshake())
    }

    /// Takes note of the edges that epoll reported. `true` when reading may go on because of a writable one.
    pub(crate) fn saw(&mut self, edges: u8) -> bool {
        match &mut self.0 {
            Kind::Plain(_) | Kind::Http2(_) => false,
            Kind::Tls(tls) => {
                tls.saw(edges & READABLE != 0, edges & ENDED != 0);
                edges & WRITABLE != 0 && tls.wants_write()
            }
        }
    }

    /// The edges of the socket are nobody's business any more: every read asks it anew.
    pub fn forget_edges(&mut self) {
        self.saw(READABLE);
    }

    /// Whether [`Stream::take_fault`] has something to tell.
    pub(crate) fn has_fault(&self) -> bool {
        matches!(&self.0, Kind::Tls(tls) if tls.has_fault())
    }

    /// Why the connection failed as TLS; told once.
    pub fn take_fault(&mut self) -> Option<Fault> {
        match &mut self.0 {
            Kind::Plain(_) | Kind::Http2(_) => None,
            Kind::Tls(tls) => tls.take_fault(),
        }
    }

    /// The certificate that the client showed, in DER.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => tls.peer_certificate(),
            Kind::Http2(lane) => lane.socket(|socket| socket.peer_certificate()).flatten(),
        }
    }

    /// The version of TLS, as OpenSSL names it ("TLSv1.3"); `None` without TLS.
    pub fn tls_version(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => Some(tls.version()),
            Kind::Http2(lane) => lane.socket(|socket| socket.tls_version()).flatten(),
        }
    }

    /// Ends both directions, for every process and descriptor; what was sent still arrives.
    pub(crate) fn shut_down(&self) {
        if let Kind::Http2(lane) = &self.0 {
            lane.cancel(Reason::Cancel);
        }
        if let Some(socket) = self.socket() {
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
        }
    }

    /// Whether the peer still waits for what is sent.
    pub(crate) fn peer_state(&self) -> PeerState {
        match (&self.0, self.socket()) {
            (Kind::Http2(lane), _) if lane.is_awaited() => PeerState::Open,
            (_, Some(socket)) => sys::peer_state(socket),
            _ => PeerState::Gone,
        }
    }

    /// Whether the peer has sent what nobody has read: closed now, the socket would reset the peer.
    pub(crate) fn has_unread(&self) -> bool {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        self.socket().is_some_and(|socket| matches!(recv(socket.as_raw_fd(), &mut [0], peek), Ok(1)))
    }

    /// Gives the socket up, for an application that hijacks the connection; with TLS there is more to it than a socket.
    ///
    /// # Errors
    ///
    /// The stream itself, when it speaks TLS, or is one of several.
    pub fn into_fd(self) -> Result<OwnedFd, Self> {
        match self.0 {
            Kind::Plain(fd) => Ok(fd),
            Kind::Tls(_) | Kind::Http2(_) => Err(self),
        }
    }

    /// Its socket, if it has one of its own.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Plain(fd) => Some(fd.as_fd()),
            Kind::Tls(tls) => Some(tls.as_fd()),
            Kind::Http2(_) => None,
        }
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
