//! A response that is ahead of its reader: the thread that waits with it, and the reader that is given up.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AfterSending, Exchange};
use crate::connection::unread::{ADVANCE, Reader};
use crate::sys::{Bell, Parking};

/// Where somebody waits for a reader that is too far behind.
pub(crate) enum Waiter {
    Thread(Arc<Parking>),
    /// Among others of its thread, which wait for other things.
    Fiber(Arc<Bell>),
}

impl Exchange {
    pub(super) fn wake(&mut self) {
        match self.waiting.take() {
            Some(Waiter::Thread(parking)) => parking.wake(),
            Some(Waiter::Fiber(bell)) => bell.ring(),
            None => {}
        }
    }

    /// The response is so far ahead of its reader that the thread that makes it should wait.
    pub(crate) fn is_ahead(&self) -> bool {
        self.outgoing.held() > self.advance
    }

    /// Who makes the response waits until all is sent, or it may go on all the same, or the connection is lost.
    pub(crate) fn wait_at(&mut self, waiter: Waiter) {
        self.corked = false;
        self.waiting = Some(waiter);
    }

    /// See [`Exchange::wait_at`].
    pub(crate) fn is_waited_with(&self) -> bool {
        self.waiting.is_some()
    }

    /// The response may be a little further ahead of its reader than it is.
    pub(crate) fn go_on_ahead(&mut self) {
        self.advance = self.outgoing.held() + ADVANCE;
        self.wake();
    }

    /// The client, if it is behind.
    pub(crate) fn reader(&self, now: Instant) -> Option<Reader> {
        self.outgoing.lag().map(|lag| Reader::new(self.outgoing.held(), lag, now))
    }

    /// When a client that is behind is given up.
    pub(crate) fn reader_due(&self, now: Instant, pause: Duration) -> Instant {
        self.outgoing.lag().map_or(now + pause, |lag| lag.due(pause))
    }

    /// Gives the client up, which reads too slowly: the thread that makes its response sees that it is lost, and closes.
    pub(crate) fn cut_off(&mut self) {
        self.lost = Some(io::ErrorKind::TimedOut);
        self.after_sending = AfterSending::Abort;
        self.outgoing.clear();
        if let Some(stream) = &self.stream {
            stream.shut_down();
        }
        self.wake();
    }
}
