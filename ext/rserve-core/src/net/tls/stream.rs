//! One client's TLS connection: non-blocking, the handshake included.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream};
use openssl::x509::X509VerifyResult;

use crate::net::stream::Received;
use crate::net::tls::{Handshakes, context};

/// Octets of plain text in one record (RFC 8446 §5.1); also what is sent at once.
const RECORD: usize = 16 * 1024;

/// Octets that one call encrypts at most, however fast the client reads.
const CALL_LIMIT: usize = 1 << 20;

thread_local! {
    /// Where slices and files are joined to records.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(RECORD));
}

/// Why a connection failed as TLS: a refused certificate, no version in common, plain HTTP, …
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// OpenSSL's words.
    pub message: String,
    /// The certificate at fault, or the client's, in DER.
    pub certificate: Option<Vec<u8>>,
}

/// A connected, non-blocking socket that speaks TLS.
pub(crate) struct TlsStream {
    ssl: SslStream<Socket>,
    /// Plain text of a record that the socket has not taken all of; OpenSSL wants to be given it again.
    pending: Vec<u8>,
    /// Reading waits for the socket to become *writable*.
    wants_write: bool,
    fault: Option<Fault>,
    handshakes: Arc<Handshakes>,
    /// Nothing more is encrypted or decrypted.
    over: bool,
}

impl TlsStream {
    pub(crate) fn new(ssl: Ssl, fd: OwnedFd, handshakes: Arc<Handshakes>) -> io::Result<Self> {
        let ssl = SslStream::new(ssl, Socket { fd, begun: false, drained: false, ended: false })?;
        Ok(Self { ssl, pending: Vec::new(), wants_write: false, fault: None, handshakes, over: false })
    }

    /// Reads plain text, and takes the steps of the handshake that come before it.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        if self.over {
            return self.receive_raw(buffer);
        }
        self.wants_write = false;
        forget_errors();
        let read = match self.awaits_handshake() {
            true => self.shake_hands(buffer),
            false => self.ssl.ssl_read(buffer),
        };
        match read {
            Ok(count) => Ok(Received::Octets(count)),
            Err(error) => match error.code() {
                ErrorCode::WANT_READ => Ok(Received::WouldBlock),
                ErrorCode::WANT_WRITE => {
                    self.wants_write = true;
                    Ok(Received::WouldBlock)
                }
                ErrorCode::ZERO_RETURN => Ok(Received::Eof),
                _ => Err(self.failed(error)),
            },
        }
    }

    /// Reads, and takes account of the steps of the handshake that it takes.
    fn shake_hands(&mut self, buffer: &mut [u8]) -> Result<usize, openssl::ssl::Error> {
        let began = Instant::now();
        let read = self.ssl.ssl_read(buffer);
        self.handshakes.spend(began.elapsed());
        if self.ssl.ssl().is_init_finished() {
            self.handshakes.finish(self.ssl.ssl().session_reused());
        } else if read.as_ref().is_err_and(|error| error.code() == ErrorCode::SSL) {
            self.handshakes.fail();
        }
        read
    }

    /// Octets that nobody reads: they cannot be decrypted any more.
    fn receive_raw(&self, buffer: &mut [u8]) -> io::Result<Received> {
        match recv(self.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Ok(Received::Eof),
            Ok(count) => Ok(Received::Octets(count)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::WouldBlock),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes as much of `octets` as the socket does, up to one record more; `None` when it takes nothing.
    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<Option<usize>> {
        if !self.flush()? {
            return Ok(None);
        }
        let mut sent = 0;
        for record in octets[..octets.len().min(CALL_LIMIT)].chunks(RECORD) {
            sent += record.len();
            if !self.send_record(record)? {
                break;
            }
        }
        Ok(Some(sent))
    }

    /// Like [`TlsStream::send`]; what is small goes into one record.
    pub(crate) fn send_gathered(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        if !self.flush()? {
            return Ok(None);
        }
        JOINED.with_borrow_mut(|joined| {
            let mut sent = 0;
            joined.clear();
            for slice in slices {
                let mut rest = &slice[..];
                while !rest.is_empty() {
                    let (part, after) = rest.split_at(rest.len().min(RECORD - joined.len()));
                    joined.extend_from_slice(part);
                    rest = after;
                    if joined.len() == RECORD {
                        sent += RECORD;
                        if !self.send_record(joined)? || sent >= CALL_LIMIT {
                            return Ok(Some(sent));
                        }
                        joined.clear();
                    }
                }
            }
            if !joined.is_empty() {
                sent += joined.len();
                self.send_record(joined)?;
            }
            Ok(Some(sent))
        })
    }

    /// Sends up to `count` octets of `file` from `offset`; `Some(0)` means that the file ended early.
    pub(crate) fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<Option<usize>> {
        if !self.flush()? {
            return Ok(None);
        }
        let offset = i64::try_from(offset).map_err(|_| io::Error::from(Errno::EOVERFLOW))?;
        JOINED.with_borrow_mut(|joined| {
            let mut sent = 0;
            while sent < count.min(CALL_LIMIT) {
                joined.resize(RECORD.min(count - sent), 0);
                let read = match nix::sys::uio::pread(file, joined, offset + sent as i64) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(Errno::EINTR) => continue,
                    Err(errno) => return Err(errno.into()),
                };
                sent += read;
                if !self.send_record(&joined[..read])? {
                    break;
                }
            }
            Ok(Some(sent))
        })
    }

    /// Sends what the socket did not take of what was said to be sent; `false` when it still does not.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        if self.over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.pending.is_empty() {
            return Ok(true);
        }
        let record = std::mem::take(&mut self.pending);
        self.send_record(&record)
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sends one record; what the socket does not take is kept.
    fn send_record(&mut self, record: &[u8]) -> io::Result<bool> {
        forget_errors();
        match self.ssl.ssl_write(record) {
            Ok(count) if count == record.len() => Ok(true),
            Ok(count) => self.send_record(&record[count..]),
            Err(error) => match error.code() {
                ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => {
                    self.pending = record.to_vec();
                    Ok(false)
                }
                _ => {
                    self.over = true;
                    Err(error.into_io_error().unwrap_or_else(io::Error::other))
                }
            },
        }
    }

    /// Takes note of the edges that epoll reported.
    pub(crate) fn saw(&mut self, readable: bool, ended: bool) {
        let socket = self.ssl.get_mut();
        if readable {
            socket.drained = false;
        }
        socket.ended |= ended;
    }

    /// The handshake is not through.
    pub(crate) fn awaits_handshake(&self) -> bool {
        !self.over && !self.ssl.ssl().is_init_finished()
    }

    /// The client has begun its handshake and is not through.
    pub(crate) fn in_handshake(&self) -> bool {
        self.ssl.get_ref().begun && self.awaits_handshake()
    }

    /// The client has chosen HTTP/2 (RFC 7301).
    pub(crate) fn chose_http2(&self) -> bool {
        self.ssl.ssl().selected_alpn_protocol() == Some(b"h2")
    }

    /// Reading waits for a writable edge.
    pub(crate) fn wants_write(&self) -> bool {
        self.wants_write
    }

    /// Tells the client that nothing more comes (RFC 8446 §6.1); from now on octets are only thrown away.
    pub(crate) fn finish(&mut self) {
        if !self.over && self.pending.is_empty() && self.ssl.ssl().is_init_finished() {
            forget_errors();
            let _ = self.ssl.shutdown();
            forget_errors();
        }
        self.over = true;
    }

    pub(crate) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// The client's certificate, in DER.
    pub(crate) fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.ssl.ssl().peer_certificate()?.to_der().ok()
    }

    /// Version and cipher's state, as Puma's `ssl_version_state` gives them.
    pub(crate) fn version(&self) -> &'static str {
        self.ssl.ssl().version_str()
    }

    fn failed(&mut self, error: openssl::ssl::Error) -> io::Error {
        self.over = true;
        if error.code() != ErrorCode::SSL {
            return error.into_io_error().unwrap_or_else(|_| io::ErrorKind::ConnectionReset.into());
        }
        let ssl = self.ssl.ssl();
        let verified = ssl.verify_result();
        let reason = error.ssl_error().and_then(|stack| stack.errors().first());
        let message = if verified != X509VerifyResult::OK {
            let reason = verified.error_string();
            format!("OpenSSL certificate verification error: {reason} - {}", verified.as_raw())
        } else {
            match reason {
                Some(first) => {
                    let (library, reason) = (first.library().unwrap_or(""), first.reason().unwrap_or(""));
                    let (code, number) = (first.code(), first.reason_code());
                    format!("OpenSSL error: error:{code:08X}:{library}::{reason} - {number}")
                }
                None => "OpenSSL error: unknown".to_owned(),
            }
        };
        let certificate = context::rejected(ssl).or_else(|| self.peer_certificate());
        self.fault = Some(Fault { message, certificate });
        io::Error::other("TLS failed")
    }
}

/// OpenSSL tells apart why a call failed by the thread's queue of errors, and the application's own use of OpenSSL on
/// this thread may have left some there.
fn forget_errors() {
    drop(ErrorStack::get());
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ssl.get_ref().fd.as_fd()
    }
}

/// The socket as OpenSSL reads and writes it.
struct Socket {
    fd: OwnedFd,
    /// The peer has sent something.
    begun: bool,
    /// A read brought less than it could have: epoll(7) will tell when there is more, and asking is for nothing.
    drained: bool,
    /// The peer has sent its last octet: no edge tells.
    ended: bool,
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
        Ok(send(self.fd.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
