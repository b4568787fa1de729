//! Sending the parts of one response: framing, Content-Length kept, and waiting for clients that read slowly.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use magnus::{Error, RString, Ruby};
use rserve_core::connection::Connection;
use rserve_core::connection::exchange::AfterSending;
use rserve_core::server::Server;
use rserve_http1::{ChunkWatch, ResponseFraming, encode};

use crate::core::body_file::BodyFile;
use crate::vm::buffer;
use crate::vm::gvl::without_gvl;
use crate::vm::text;

/// The longest wait without looking whether Ruby wants the thread.
const WAIT_SLICE: Duration = Duration::from_millis(100);

/// The body of one response on its way out.
pub(crate) struct Writer {
    server: Arc<Server>,
    connection: Arc<Connection>,
    framing: ResponseFraming,
    /// The head, until the first octets of the body go with it.
    head: Vec<u8>,
    /// Octets that the Content-Length still promises.
    remaining: u64,
    /// Finds the end of a body that the application has chunked itself.
    chunks: Option<Box<ChunkWatch>>,
    keep_alive: bool,
    failed: bool,
}

impl Writer {
    /// `head` is the complete head of the response.
    pub(crate) fn new(
        server: &Arc<Server>,
        connection: &Arc<Connection>,
        framing: ResponseFraming,
        head: Vec<u8>,
        keep_alive: bool,
    ) -> Self {
        let remaining = match framing {
            ResponseFraming::Length(length) => length,
            _ => u64::MAX,
        };
        let (server, connection) = (Arc::clone(server), Arc::clone(connection));
        let chunked = matches!(framing, ResponseFraming::AsSent | ResponseFraming::Unwrapped);
        let chunks = chunked.then(Box::default);
        Self { server, connection, framing, head, remaining, chunks, keep_alive, failed: false }
    }

    /// `part` as it is to be sent: without the application's own chunks, where the client does not know them.
    fn unwrap<'a>(&mut self, part: &'a [u8]) -> Cow<'a, [u8]> {
        match self.chunks.as_mut() {
            Some(chunks) if self.framing == ResponseFraming::Unwrapped => {
                let mut data = Vec::with_capacity(part.len());
                chunks.unwrap(part, &mut data);
                Cow::Owned(data)
            }
            _ => Cow::Borrowed(part),
        }
    }

    /// How many octets of `part` the framing has room for; counts them as sent.
    fn admit(&mut self, part: &[u8]) -> usize {
        match self.framing {
            ResponseFraming::None => 0,
            ResponseFraming::AsSent => self.chunks.as_mut().map_or(0, |chunks| chunks.pass(part)),
            ResponseFraming::Length(_) => {
                let kept = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(part.len());
                self.remaining -= kept as u64;
                kept
            }
            ResponseFraming::Chunked | ResponseFraming::UntilClose | ResponseFraming::Unwrapped => part.len(),
        }
    }

    /// Whether the framing has come to its end.
    fn is_whole(&self) -> bool {
        match self.framing {
            ResponseFraming::Length(_) => self.remaining == 0,
            ResponseFraming::AsSent | ResponseFraming::Unwrapped => {
                self.chunks.as_ref().is_some_and(|chunks| chunks.is_complete())
            }
            _ => true,
        }
    }

    /// Sends one part of the body, without waiting. `true` when too much waits for the client now.
    fn send(&mut self, part: &[u8]) -> io::Result<bool> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let part = &*self.unwrap(part);
        let part = &part[..self.admit(part)];
        if part.is_empty() && self.head.is_empty() {
            return Ok(false);
        }
        let mut prefix = std::mem::take(&mut self.head);
        let mut suffix: &[u8] = &[];
        if self.framing == ResponseFraming::Chunked && !part.is_empty() {
            encode::chunk_head(&mut prefix, part.len());
            suffix = encode::CHUNK_END;
        }
        let slices = [IoSlice::new(&prefix), IoSlice::new(part), IoSlice::new(suffix)];
        let outcome = self.server.write_part(&self.connection, &slices);
        self.failed |= outcome.is_err();
        buffer::give(prefix);
        outcome
    }

    /// Sends one part of the body, and gives its length; waits, without the GVL, for a client that leaves too much
    /// unread.
    pub(crate) fn write_string(&mut self, ruby: &Ruby, part: RString) -> Result<usize, Error> {
        let (sent, length) = text::with_octets(part, |octets| (self.send(octets), octets.len()));
        self.wait_after(ruby, sent)?;
        Ok(length)
    }

    fn wait_after(&mut self, ruby: &Ruby, sent: io::Result<bool>) -> Result<(), Error> {
        match sent {
            Ok(true) => self.wait_for_reader(ruby, false),
            Ok(false) => Ok(()),
            Err(_) => Err(crate::vm::error::connection(ruby, "the client closed the connection")),
        }
    }

    /// Takes the head away, to be sent in one buffer with the body.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Sends a whole response: a head of `start` octets and the body in one buffer.
    pub(crate) fn write_joined(&mut self, mut joined: Vec<u8>, start: usize) {
        if let Cow::Owned(unwrapped) = self.unwrap(&joined[start..]) {
            joined.truncate(start);
            joined.extend_from_slice(&unwrapped);
        }
        let wanted = self.admit(&joined[start..]);
        joined.truncate(start + wanted);
        self.failed |= self.server.write(&self.connection, &[IoSlice::new(&joined)]).is_err();
        buffer::give(joined);
    }

    /// Sends `head` (may be empty) and `parts` of the body, gathered, in order.
    pub(crate) fn write_gathered(&mut self, head: &[u8], parts: &[&[u8]]) {
        let unwrapped: Vec<_> = parts.iter().map(|part| self.unwrap(part)).collect();
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(head));
        for part in &unwrapped {
            let kept = self.admit(part);
            if kept > 0 {
                slices.push(IoSlice::new(&part[..kept]));
            }
        }
        self.failed |= self.server.write(&self.connection, &slices).is_err();
    }

    /// Queues a file after the head.
    pub(crate) fn write_file(&mut self, ruby: &Ruby, body: BodyFile) -> Result<(), Error> {
        self.flush(ruby)?;
        if self.framing != ResponseFraming::None {
            let kept = self.remaining.min(body.length);
            self.server.write_file(&self.connection, body.file, body.offset, kept);
            if self.remaining != u64::MAX {
                self.remaining -= kept;
            }
        }
        Ok(())
    }

    /// Sends what has been held back so far, the head included.
    pub(crate) fn flush(&mut self, ruby: &Ruby) -> Result<(), Error> {
        let sent = self.send(&[]);
        self.wait_after(ruby, sent)
    }

    /// Waits until all that was written is out.
    pub(crate) fn wait(&mut self, ruby: &Ruby) -> Result<(), Error> {
        self.wait_for_reader(ruby, true)
    }

    fn wait_for_reader(&mut self, ruby: &Ruby, all: bool) -> Result<(), Error> {
        loop {
            let (server, connection) = (&self.server, &self.connection);
            let waited = without_gvl(|| server.wait_for_reader(connection, WAIT_SLICE, all), &|| {});
            ruby.thread_check_ints()?;
            let failure = match waited {
                Some(Ok(true)) => return Ok(()),
                Some(Ok(false)) | None => continue,
                Some(Err(failure)) => failure,
            };
            self.failed = true;
            let why = match failure.kind() {
                io::ErrorKind::TimedOut => "Socket timeout writing data",
                _ => "the client closed the connection",
            };
            return Err(crate::vm::error::connection(ruby, why));
        }
    }

    /// The body is complete: ends its framing and lets go of the connection.
    pub(crate) fn finish(mut self) {
        if self.framing == ResponseFraming::Chunked {
            self.head.extend_from_slice(encode::LAST_CHUNK);
        }
        if !self.head.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.failed |= self.server.write(&self.connection, &[IoSlice::new(&head)]).is_err();
        }
        let after = match self.is_whole() {
            true if self.keep_alive && !self.failed => AfterSending::KeepAlive,
            // The end of the connection would pass for the end of the body.
            false if self.framing == ResponseFraming::Unwrapped => AfterSending::Abort,
            _ => AfterSending::Close,
        };
        self.server.finish(&self.connection, after);
    }

    /// As [`Writer::finish`], by a thread that may be none of the pool's: another one has to serve what comes next.
    pub(crate) fn finish_from_anywhere(self) {
        let server = Arc::clone(&self.server);
        self.finish();
        server.nudge();
    }

    /// As [`Writer::finish`], and never keeps the connection; what the client still sends is read for a while, so that
    /// it sees the answer.
    pub(crate) fn finish_lingering(self) {
        self.server.finish(&self.connection, AfterSending::Linger);
    }

    /// The body will never be complete: the client must see that, so no end is written.
    pub(crate) fn abort(self) {
        self.server.finish(&self.connection, AfterSending::Abort);
    }

    /// Nothing of the response has left yet.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.head.is_empty() && !self.failed
    }

    /// The connection was lost while writing.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }
}
