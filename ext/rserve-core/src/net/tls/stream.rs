//! One client's TLS connection: non-blocking, the handshake included.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream, SslVersion};
use openssl::x509::X509VerifyResult;

use crate::net::stream::Received;
use crate::net::tls::socket::Socket;
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
    /// The handshake has ended with octets that wait for the response; nobody knows yet.
    held: bool,
    /// The client was told that nothing more comes, or that waits for the socket.
    concluded: bool,
    /// The client takes nothing any more. What it has sent can be read, as without TLS.
    cut: bool,
    /// Nothing more is encrypted or decrypted.
    over: bool,
    /// What still comes is thrown away.
    discards: bool,
}

impl TlsStream {
    pub(crate) fn new(ssl: Ssl, fd: OwnedFd, handshakes: Arc<Handshakes>) -> io::Result<Self> {
        Ok(Self {
            ssl: SslStream::new(ssl, Socket::new(fd))?,
            pending: Vec::new(),
            wants_write: false,
            fault: None,
            handshakes,
            held: false,
            concluded: false,
            cut: false,
            over: false,
            discards: false,
        })
    }

    /// Reads plain text, and takes the steps of the handshake that come before it.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match (self.over, self.discards) {
            (true, true) => return self.receive_raw(buffer),
            // What comes is encrypted: nobody may take it for what the client says.
            (true, false) => return Err(Errno::ECONNRESET.into()),
            _ => {}
        }
        self.wants_write = false;
        forget_errors();
        let read = match self.awaits_handshake() {
            true => self.shake_hands(buffer)?,
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

    /// Reads, and takes account of the steps of the handshake that it takes. What they say goes out together: OpenSSL sends
    /// each session ticket by itself, and what is longer than 4 KiB in parts.
    ///
    /// A client of TLS 1.3 goes on without waiting for the tickets, which are the last that it gets of the handshake. So, where
    /// its request came with the end of the handshake, they may wait for the response, and go out with that;
    /// [`TlsStream::take_held`] says that somebody must see to it that they do not wait for long.
    fn shake_hands(&mut self, buffer: &mut [u8]) -> io::Result<Result<usize, openssl::ssl::Error>> {
        let began = Instant::now();
        self.ssl.get_mut().collect(true);
        let read = self.ssl.ssl_read(buffer);
        self.ssl.get_mut().collect(false);
        let ended = self.ssl.ssl().is_init_finished();
        if ended && read.is_ok() && self.ssl.ssl().version2() == Some(SslVersion::TLS1_3) {
            self.held = self.ssl.get_mut().keep();
        } else {
            let sent = self.ssl.get_mut().send_collected();
            // Of a client that is gone when the handshake is through, what it has sent is still read.
            if !ended && read_on(&read) {
                sent?;
            }
        }
        self.handshakes.spend(began.elapsed());
        if ended {
            self.handshakes.finish(self.ssl.ssl().session_reused());
        } else if read.as_ref().is_err_and(|error| error.code() == ErrorCode::SSL) {
            self.handshakes.fail();
        }
        Ok(read)
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
        if !self.takes_more()? {
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
        if !self.takes_more()? {
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
        if !self.takes_more()? {
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

    /// Whether more can be encrypted: nothing waits, or only what may wait for more.
    fn takes_more(&mut self) -> io::Result<bool> {
        if !self.cut && !self.over && self.is_flushed() { Ok(true) } else { self.flush() }
    }

    /// Sends what the socket did not take of what was said to be sent, and what was held; `false` when it still does not.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        if self.cut || self.over {
            return Err(Errno::EPIPE.into());
        }
        let sent = self.ssl.get_mut().send_collected().inspect_err(|_| self.cut = true)?;
        if !sent || self.pending.is_empty() {
            return Ok(sent);
        }
        let record = std::mem::take(&mut self.pending);
        self.send_record(&record)
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty() && !self.ssl.get_ref().is_blocked()
    }

    /// As [`TlsStream::send`]; what is small waits for [`TlsStream::flush`], to go out with what comes between.
    pub(crate) fn send_last(&mut self, octets: &[u8]) -> io::Result<Option<usize>> {
        if octets.len() > RECORD || !self.takes_more()? {
            return self.send(octets);
        }
        self.ssl.get_mut().collect(true);
        let sent = self.send(octets);
        self.ssl.get_mut().collect(false);
        self.ssl.get_mut().keep();
        sent
    }

    /// What ended the handshake waits for more: `true` once, for who then sees to it that [`TlsStream::flush`] is called soon.
    pub(crate) fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.held)
    }

    /// Whether something waits that the socket was not asked to take.
    pub(crate) fn holds_back(&self) -> bool {
        self.ssl.get_ref().holds_back()
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
                ErrorCode::SYSCALL => {
                    self.cut = true;
                    Err(error.into_io_error().unwrap_or_else(|_| Errno::EPIPE.into()))
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
        self.ssl.get_mut().saw(readable, ended);
    }

    /// The handshake is not through.
    pub(crate) fn awaits_handshake(&self) -> bool {
        !self.over && !self.ssl.ssl().is_init_finished()
    }

    /// The client has begun its handshake and is not through.
    pub(crate) fn in_handshake(&self) -> bool {
        self.ssl.get_ref().has_begun() && self.awaits_handshake()
    }

    /// The client has chosen HTTP/2 (RFC 7301).
    pub(crate) fn chose_http2(&self) -> bool {
        self.ssl.ssl().selected_alpn_protocol() == Some(b"h2")
    }

    /// Reading waits for a writable edge.
    pub(crate) fn wants_write(&self) -> bool {
        self.wants_write
    }

    /// Tells the client that nothing more comes (RFC 8446 §6.1), with what is sent or flushed next.
    /// `false` when there is something to be sent before, or nobody to be told.
    pub(crate) fn conclude(&mut self) -> bool {
        let waits = !self.pending.is_empty() || !self.ssl.ssl().is_init_finished();
        if self.over || self.cut || self.concluded || waits {
            return self.concluded;
        }
        forget_errors();
        self.ssl.get_mut().collect(true);
        let _ = self.ssl.shutdown();
        self.ssl.get_mut().collect(false);
        self.concluded = true;
        forget_errors();
        true
    }

    /// Tells the client that nothing more comes; from now on octets are only thrown away.
    pub(crate) fn finish(&mut self) {
        self.conclude();
        if !self.over {
            let _ = self.ssl.get_mut().send_collected();
        }
        (self.over, self.discards) = (true, true);
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
            return error.into_io_error().unwrap_or_else(|_| Errno::ECONNRESET.into());
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

/// The connection goes on: octets came, or will.
fn read_on(read: &Result<usize, openssl::ssl::Error>) -> bool {
    read.as_ref().map_or_else(|error| error.code() == ErrorCode::WANT_READ, |_| true)
}

/// OpenSSL tells apart why a call failed by the thread's queue of errors, and the application's own use of OpenSSL on
/// this thread may have left some there.
fn forget_errors() {
    drop(ErrorStack::get());
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ssl.get_ref().as_fd()
    }
}
