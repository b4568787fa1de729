//! The way out: what is sent at once, held back to go out together, or left to the poller.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AfterSending, Exchange};
use crate::config::options::Options;
use crate::connection::access::{self, Access};
use crate::connection::outgoing::Flushed;
use crate::connection::request::Request;
use crate::content::Stamp;
use crate::net::Peer;
use crate::net::stream::Stream;
use crate::telemetry::Spent;

/// Octets of one response that are sent before other connections get their turn.
const SEND_BUDGET: usize = 1 << 18;

/// Parts of a body that follow each other within this time go out together.
pub(super) const CORK_TIME: Duration = Duration::from_millis(1);

/// Octets of parts that are held back at most.
const CORK_LIMIT: usize = 32 * 1024;

impl Exchange {
    /// Sends `slices` after what already waits; what the socket does not take is queued.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], options: &Options) -> io::Result<()> {
        self.write_by(slices, options, |stream, slices| match slices {
            [one] => stream.send(one),
            many => stream.send_gathered(many),
        })
    }

    /// As [`Exchange::write`], of the last octets of a response that the caller is about to finish, and the connection with
    /// it: what else there is to say then goes out with them.
    pub(crate) fn write_last(&mut self, octets: &[u8], options: &Options) -> io::Result<()> {
        self.write_by(&[IoSlice::new(octets)], options, |stream, _| stream.send_last(octets))
    }

    fn write_by(
        &mut self,
        slices: &[IoSlice<'_>],
        options: &Options,
        send: impl FnOnce(&mut Stream, &[IoSlice<'_>]) -> io::Result<Option<usize>>,
    ) -> io::Result<()> {
        if mem::replace(&mut self.corked, false) {
            self.flush()?;
        }
        self.check_lost()?;
        if self.given_up {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if let Some(access) = &mut self.access {
            access.add(slices);
        }
        let mut sent = 0;
        if self.outgoing.is_empty() {
            sent = send(stream, slices)?.unwrap_or(0);
            if sent == slices.iter().map(|slice| slice.len()).sum() {
                return Ok(());
            }
        }
        self.hold(slices, sent, options)
    }

    /// Queues `slices`, of a response that the caller is about to finish: they go out with what is queued after them.
    pub(super) fn queue(&mut self, slices: &[IoSlice<'_>], options: &Options) -> io::Result<()> {
        if let Some(access) = &mut self.access {
            access.add(slices);
        }
        self.hold(slices, 0, options)
    }

    /// Queues what is left of `slices` after their first `sent` octets. Without room for it the response ends here: what came next
    /// would be read in its place.
    fn hold(&mut self, slices: &[IoSlice<'_>], sent: usize, options: &Options) -> io::Result<()> {
        self.outgoing.push(slices, sent, &options.temp_folder).map_err(|failure| {
            self.lost = Some(io::ErrorKind::StorageFull);
            io::Error::new(io::ErrorKind::StorageFull, failure)
        })
    }

    /// As [`Exchange::write`], for one of many small parts: one that follows another closely is held back, so that they
    /// go out together. `true` when the caller has to see to it that [`Exchange::uncork`] is called soon.
    pub(crate) fn write_part(
        &mut self,
        slices: &[IoSlice<'_>],
        options: &Options,
        now: Instant,
    ) -> io::Result<bool> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let closely = self.sent_at.is_some_and(|at| now.saturating_duration_since(at) < CORK_TIME);
        let room = self.outgoing.is_empty() || self.corked;
        if closely
            && room
            && self.lost.is_none()
            && !self.given_up
            && self.outgoing.in_memory() + len <= CORK_LIMIT
        {
            if let Some(access) = &mut self.access {
                access.add(slices);
            }
            self.hold(slices, 0, options)?;
            return Ok(!mem::replace(&mut self.corked, true));
        }
        self.sent_at = Some(now);
        self.write(slices, options)?;
        Ok(false)
    }

    /// Sends what was held back; `false` when there was nothing.
    pub(crate) fn uncork(&mut self, now: Instant) -> bool {
        let corked = mem::replace(&mut self.corked, false);
        if corked {
            self.sent_at = Some(now);
        }
        let held = corked || self.stream.as_ref().is_some_and(Stream::holds_back);
        if held {
            // A lost connection shows at the next write.
            let _ = self.flush();
        }
        held
    }

    /// What ended a TLS handshake is held back to go out with the response: `true` once, for who then sees to it that
    /// [`Exchange::uncork`] is called soon.
    pub(crate) fn take_held(&mut self) -> bool {
        self.stream.as_mut().is_some_and(Stream::take_held)
    }

    /// Queues a part of a file, see [`Outgoing::push_file`](crate::connection::outgoing::Outgoing).
    pub(crate) fn write_file(&mut self, file: Arc<File>, offset: u64, len: u64, stamp: Option<Stamp>) {
        if self.given_up {
            return;
        }
        if let Some(access) = &mut self.access {
            access.add_file(len);
        }
        self.outgoing.push_file(file, offset, len, stamp);
    }

    #[cfg(test)]
    pub(crate) fn outgoing(&self) -> &crate::connection::outgoing::Outgoing {
        &self.outgoing
    }

    /// # Errors
    ///
    /// No more of the response goes out; the kind says why.
    fn check_lost(&self) -> io::Result<()> {
        self.lost.map_or(Ok(()), |why| Err(why.into()))
    }

    pub(crate) fn flush(&mut self) -> io::Result<Flushed> {
        self.check_lost()?;
        let flushed = match &mut self.stream {
            Some(stream) => self.outgoing.flush(stream, SEND_BUDGET),
            None => Ok(Flushed::All),
        };
        self.lost = flushed.as_ref().err().map(|_| io::ErrorKind::BrokenPipe);
        if matches!(flushed, Ok(Flushed::All) | Err(_)) {
            self.wake();
        }
        flushed
    }

    /// With TLS, says that the connection ends, if nothing more is to be said but what the stream itself holds: it goes out
    /// with that. Whether it is said.
    pub(super) fn conclude(&mut self) -> bool {
        let closes = matches!(self.after_sending, AfterSending::Close | AfterSending::Linger);
        let Some(stream) = self.stream.as_ref().filter(|_| closes && self.outgoing.is_empty()) else {
            return false;
        };
        // What comes from now on may be the client's answer to that.
        if stream.is_tls() && self.after_sending == AfterSending::Close && self.has_unread() {
            self.after_sending = AfterSending::Linger;
        }
        self.stream.as_mut().is_some_and(Stream::conclude)
    }

    /// Whether octets wait for the socket to take more.
    pub(crate) fn is_blocked(&self) -> bool {
        let flushed = self.outgoing.is_empty() && self.stream.as_ref().is_none_or(Stream::is_flushed);
        !flushed && !self.corked && self.lost.is_none()
    }

    /// Begins the access log's line of `request`, if there is an access log.
    pub(crate) fn begin_access(&mut self, request: &Request, peer: Peer) {
        self.access = self.access_of(request, peer);
        self.tell_request(request);
    }

    pub(super) fn access_of(&self, request: &Request, peer: Peer) -> Option<Box<Access>> {
        let tls = self.stream.as_ref().is_some_and(Stream::is_tls);
        let client = request.client.unwrap_or_else(|| peer.ip());
        access::is_wanted().then(|| Box::new(Access::new(request, client, tls, Instant::now())))
    }

    /// The response has this status.
    pub(crate) fn note_status(&mut self, status: u16) {
        if self.given_up {
            return;
        }
        if let Some(access) = &mut self.access {
            access.answered(status);
        }
        if let Some(told) = &mut self.told {
            told.answered(status);
        }
    }

    /// The thread that served the request has spent its time on it like this.
    pub(crate) fn note_spent(&mut self, spent: Option<Spent>) {
        if let (Some(access), Some(spent)) = (&mut self.access, spent) {
            access.spent(spent);
        }
    }

    /// All of the response has gone out, if it was not cut.
    pub(super) fn tell_access(&mut self, now: Instant) {
        if let Some(told) = &mut self.told {
            told.end_request(now);
        }
        if let Some(access) = self.access.take()
            && self.after_sending != AfterSending::Abort
        {
            access.complete();
        }
    }

    /// No more of the response goes out.
    pub(super) fn give_up_access(&mut self) {
        self.access = None;
        if let Some(told) = &mut self.told {
            told.end_request(Instant::now());
        }
    }
}
