//! Sending the parts of one response, and waiting for clients that read slowly.

pub(super) mod fiber_wait;
pub(crate) mod slot;

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use magnus::{Error, RString, Ruby};
use rserve_core::connection::exchange::AfterSending;
use rserve_core::content::StoredFile;
use rserve_core::content::coder::Coder;
use rserve_core::server::Lease;
use rserve_http1::content::ranges::Part;
use rserve_http1::{AfterBody, ResponseBody, ResponseFraming};

use crate::core::body_file::BodyFile;
use crate::vm::buffer;
use crate::vm::gvl::without_gvl;
use crate::vm::{protect, text};

/// The longest wait without looking whether Ruby wants the thread.
pub(super) const WAIT_SLICE: Duration = Duration::from_millis(100);

/// One response on its way out. Dropped before its end, it is aborted.
pub(crate) struct Writer {
    lease: Lease,
    body: ResponseBody,
    /// What its parts go through.
    coder: Option<Coder>,
    /// The head, until the first octets of the body go with it.
    head: Vec<u8>,
    keep_alive: bool,
    /// Why no more of it goes out.
    failed: Option<io::ErrorKind>,
}

/// What the application is told of it.
fn why(failed: io::ErrorKind) -> &'static str {
    match failed {
        io::ErrorKind::OutOfMemory => "the response was cut: there is no memory to code it",
        io::ErrorKind::StorageFull => {
            "the response was cut: what the client has not read yet cannot be stored in the temporary folder"
        }
        io::ErrorKind::TimedOut => "Socket timeout writing data",
        _ => "the client closed the connection",
    }
}

impl Writer {
    /// `head` is the complete head of the response.
    pub(crate) fn new(lease: Lease, framing: ResponseFraming, head: Vec<u8>, keep_alive: bool) -> Self {
        Self { lease, body: ResponseBody::new(framing), coder: None, head, keep_alive, failed: None }
    }

    /// The parts that are written go through `coder`, if there is one.
    pub(crate) fn code_with(&mut self, coder: Option<Coder>) {
        self.coder = coder;
    }

    /// Sends one part of the body, without waiting. `true` when too much waits for the client now.
    fn send(&mut self, part: &[u8]) -> io::Result<bool> {
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        let mut coded = Vec::new();
        let part = match &mut self.coder {
            Some(coder) if !part.is_empty() => {
                if coder.code(part, true, &mut coded).is_err() {
                    self.failed = Some(io::ErrorKind::OutOfMemory);
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                &coded
            }
            _ => part,
        };
        let part = self.body.admit(part);
        if part.is_empty() && self.head.is_empty() {
            return Ok(false);
        }
        let mut prefix = std::mem::take(&mut self.head);
        let suffix = self.body.enclose(part.len(), &mut prefix);
        let slices = [IoSlice::new(&prefix), IoSlice::new(&part), IoSlice::new(suffix)];
        let outcome = self.lease.server().write_part(self.lease.connection(), &slices);
        self.note(&outcome);
        buffer::give(prefix);
        outcome
    }

    /// Sends one part of the body, and gives its length; waits, without the GVL, for a client that leaves too much
    /// unread.
    pub(crate) fn write_string(&mut self, ruby: &Ruby, part: RString) -> Result<usize, Error> {
        let length = part.len();
        let sent = match self.coder.as_ref().is_some_and(|coder| coder.takes_long(length)) {
            true => self.send_long(text::copy(part)),
            false => text::with_octets(part, |octets| self.send(octets)),
        };
        self.wait_after(ruby, sent)?;
        Ok(length)
    }

    /// As [`Writer::send`], without the GVL, unless Ruby wants this thread at once.
    fn send_long(&mut self, part: Vec<u8>) -> io::Result<bool> {
        match without_gvl(|| self.send(&part), &|| {}) {
            Some(sent) => sent,
            None => self.send(&part),
        }
    }

    fn wait_after(&mut self, ruby: &Ruby, sent: io::Result<bool>) -> Result<(), Error> {
        match sent {
            Ok(true) => self.wait_for_reader(ruby, false),
            // An event for thousands is as many parts, one after the other.
            Ok(false) if self.lease.gives_way() => protect::thread_schedule(),
            Ok(false) => Ok(()),
            Err(failure) => Err(crate::vm::error::connection(ruby, why(failure.kind()))),
        }
    }

    /// Takes the head away, to be sent in one buffer with the body.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Sends a whole response: a head of `start` octets and the body in one buffer. The body is not chunked here. The caller
    /// finishes next.
    pub(crate) fn write_joined(&mut self, mut joined: Vec<u8>, start: usize) {
        match self.body.admit(&joined[start..]) {
            Cow::Borrowed(kept) => {
                let end = start + kept.len();
                joined.truncate(end);
            }
            Cow::Owned(unwrapped) => {
                joined.truncate(start);
                joined.extend_from_slice(&unwrapped);
            }
        }
        self.write_last(&joined);
        buffer::give(joined);
    }

    /// Sends `head` (may be empty) and `parts` of the body, gathered, in order. The body is not chunked here.
    pub(crate) fn write_gathered(&mut self, head: &[u8], parts: &[&[u8]]) {
        let parts: Vec<_> = parts.iter().map(|part| self.body.admit(part)).collect();
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(head));
        slices.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        self.write(&slices);
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) {
        let outcome = self.lease.server().write(self.lease.connection(), slices);
        self.note(&outcome);
    }

    /// As [`Writer::write`], of what ends the response.
    fn write_last(&mut self, octets: &[u8]) {
        let (server, connection) = (self.lease.server(), self.lease.connection());
        let outcome = match self.keep_alive {
            true => server.write(connection, &[IoSlice::new(octets)]),
            false => server.write_last(connection, octets),
        };
        self.note(&outcome);
    }

    fn note<T>(&mut self, outcome: &io::Result<T>) {
        self.failed = self.failed.or(outcome.as_ref().err().map(io::Error::kind));
    }

    /// Queues a file after the head.
    pub(crate) fn write_file(&mut self, ruby: &Ruby, body: BodyFile) -> Result<(), Error> {
        self.flush(ruby)?;
        let kept = self.body.admit_unseen(body.length);
        if kept > 0 {
            self.lease.server().write_file(self.lease.connection(), body.file, body.offset, kept);
        }
        Ok(())
    }

    /// Queues parts of a file, and what stands between them, after the head.
    pub(crate) fn write_stored(
        &mut self,
        ruby: &Ruby,
        file: &StoredFile,
        parts: Vec<Part>,
    ) -> Result<(), Error> {
        self.flush(ruby)?;
        for part in parts {
            let kept = self.body.admit_unseen(part.length());
            match part {
                Part::Octets(octets) if kept > 0 => self.write(&[IoSlice::new(&octets)]),
                Part::File(range) if kept > 0 => {
                    self.lease.server().write_stored(self.lease.connection(), file, range.start, kept);
                }
                _ => {}
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
            let (server, connection) = (self.lease.server(), self.lease.connection());
            let waited = match fiber_wait::scheduled() {
                true => fiber_wait::wait_for_reader(ruby, server, connection, WAIT_SLICE, all)?,
                false => without_gvl(|| server.wait_for_reader(connection, WAIT_SLICE, all), &|| {}),
            };
            ruby.thread_check_ints()?;
            let failure = match waited {
                Some(Ok(true)) => return Ok(()),
                Some(Ok(false)) | None => continue,
                Some(Err(failure)) => failure,
            };
            self.failed = Some(failure.kind());
            return Err(crate::vm::error::connection(ruby, why(failure.kind())));
        }
    }

    /// The body is complete: ends its framing and lets go of the connection.
    pub(crate) fn finish(self) {
        self.end(AfterSending::Close);
    }

    /// As [`Writer::finish`]; a connection that is not kept ends by `closing`.
    fn end(mut self, closing: AfterSending) {
        if let Some(coder) = self.coder.take() {
            let mut last = Vec::new();
            if self.failed.is_some() || coder.end(&mut last).is_err() {
                return self.abort();
            }
            let mut head = std::mem::take(&mut self.head);
            let end = self.body.enclose(last.len(), &mut head);
            self.head = [head.as_slice(), &last, end].concat();
        }
        self.head.extend_from_slice(self.body.end());
        if !self.head.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.write_last(&head);
        }
        self.lease.finish(match self.body.after(self.keep_alive && self.failed.is_none()) {
            AfterBody::KeepAlive => AfterSending::KeepAlive,
            AfterBody::Close => closing,
            AfterBody::Abort => AfterSending::Abort,
        });
    }

    /// As [`Writer::finish`], by a thread that may be none of the pool's: another one has to serve what comes next.
    pub(crate) fn finish_from_anywhere(self) {
        let server = Arc::clone(self.lease.server());
        self.finish();
        server.nudge();
    }

    /// As [`Writer::finish`], and never keeps the connection; what the client still sends is read for a while, so that
    /// it sees the answer.
    pub(crate) fn finish_lingering(mut self) {
        self.keep_alive = false;
        self.end(AfterSending::Linger);
    }

    /// The body will never be complete: the client must see that, so no end is written.
    pub(crate) fn abort(self) {
        self.lease.finish(AfterSending::Abort);
    }

    /// The connection without the rest of the response.
    pub(crate) fn into_lease(self) -> Lease {
        self.lease
    }

    /// Nothing of the response has left yet.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.head.is_empty() && self.failed.is_none()
    }

    /// The connection was lost while writing.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}
