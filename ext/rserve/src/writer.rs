//! Sending the parts of one response: framing, Content-Length kept, and waiting for clients that read slowly.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use magnus::Ruby;
use rserve_core::connection::Connection;
use rserve_core::exchange::AfterSending;
use rserve_core::server::Server;
use rserve_http1::{ChunkWatch, ResponseFraming, encode};

use crate::buffer;
use crate::gvl::without_gvl;
use crate::protect::{self, Exit};

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
        let chunks = (framing == ResponseFraming::AsSent).then(Box::default);
        Self { server, connection, framing, head, remaining, chunks, keep_alive, failed: false }
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
            ResponseFraming::Chunked | ResponseFraming::UntilClose => part.len(),
        }
    }

    /// Whether the framing has come to its end.
    fn is_whole(&self) -> bool {
        match self.framing {
            ResponseFraming::Length(_) => self.remaining == 0,
            ResponseFraming::AsSent => self.chunks.as_ref().is_some_and(|chunks| chunks.is_complete()),
            _ => true,
        }
    }

    /// Sends one part of the body, without waiting. `true` when too much waits for the client now.
    fn send(&mut self, part: &[u8]) -> io::Result<bool> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
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

    /// Sends one part of the body; waits, without the GVL, for a client that leaves too much unread.
    pub(crate) fn write(&mut self, ruby: &Ruby, part: &[u8]) -> Result<(), Exit> {
        match self.send(part) {
            Ok(true) => self.wait_for_reader(ruby, false),
            Ok(false) => Ok(()),
            Err(_) => Err(lost(ruby, "the client closed the connection")),
        }
    }

    /// Takes the head away, to be sent in one buffer with the body.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Sends a whole response: the head and a body of `length` octets in one buffer.
    pub(crate) fn write_joined(&mut self, mut joined: Vec<u8>, length: u64) {
        let start = joined.len().saturating_sub(length as usize);
        let wanted = self.admit(&joined[start..]);
        joined.truncate(start + wanted);
        self.failed |= self.server.write(&self.connection, &[IoSlice::new(&joined)]).is_err();
        buffer::give(joined);
    }

    /// Sends `head` (may be empty) and `parts` of the body, gathered, in order.
    pub(crate) fn write_gathered(&mut self, head: &[u8], parts: &[&[u8]]) {
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(head));
        for part in parts {
            let kept = self.admit(part);
            if kept > 0 {
                slices.push(IoSlice::new(&part[..kept]));
            }
        }
        self.failed |= self.server.write(&self.connection, &slices).is_err();
    }

    /// Queues `len` octets of a file after the head.
    pub(crate) fn write_file(
        &mut self,
        ruby: &Ruby,
        file: std::fs::File,
        offset: u64,
        len: u64,
    ) -> Result<(), Exit> {
        self.flush(ruby)?;
        if self.framing != ResponseFraming::None {
            let kept = self.remaining.min(len);
            self.server.write_file(&self.connection, file, offset, kept);
            if self.remaining != u64::MAX {
                self.remaining -= kept;
            }
        }
        Ok(())
    }

    /// Sends what has been held back so far, the head included.
    pub(crate) fn flush(&mut self, ruby: &Ruby) -> Result<(), Exit> {
        self.write(ruby, &[])
    }

    /// Waits until all that was written is out.
    pub(crate) fn wait(&mut self, ruby: &Ruby) -> Result<(), Exit> {
        self.wait_for_reader(ruby, true)
    }

    fn wait_for_reader(&mut self, ruby: &Ruby, all: bool) -> Result<(), Exit> {
        loop {
            let (server, connection) = (&self.server, &self.connection);
            let waited = without_gvl(|| server.wait_for_reader(connection, WAIT_SLICE, all), &|| {});
            protect::check_interrupts()?;
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
            return Err(lost(ruby, why));
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
        let after = match self.keep_alive && self.is_whole() && !self.failed {
            true => AfterSending::KeepAlive,
            false => AfterSending::Close,
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

fn lost(ruby: &Ruby, message: &'static str) -> Exit {
    protect::raise(ruby, &crate::error::connection(ruby, message))
}
