//! One of the requests that a connection of HTTP/2 carries. It is received by whoever polls, a part at a time, and
//! answered like any other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rserve_http1::{Element, Error, Progress, Span, Version};
use rserve_http2::RequestHead;

use super::{Activity, Exchange, Outcome, Patience};
use crate::config::options::Options;
use crate::connection::body::Body;
use crate::connection::request::Refusal;
use crate::connection::unread::Unread;
use crate::net::http2::Lane;
use crate::net::stream::Stream;

/// What `SERVER_PROTOCOL` and the access log say.
const PROTOCOL: &[u8] = b"HTTP/2";

impl Exchange {
    pub(crate) fn of_stream(
        lane: Lane,
        client: Option<IpAddr>,
        options: &Options,
        unread: &Arc<Unread>,
        now: Instant,
    ) -> Self {
        let mut exchange = Self::new(Stream::http2(lane), options, unread, now);
        exchange.preface = None;
        exchange.request.client = client;
        // It is in the middle of a request from its beginning, and never read from.
        exchange.head_begun = true;
        exchange.drained = true;
        // The connection's socket is.
        exchange.registered = true;
        exchange
    }

    /// Whether it is one of several on a connection.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_http2)
    }

    /// The head of the request; `ended` when no body follows.
    pub(crate) fn take_head(
        &mut self,
        head: RequestHead,
        ended: bool,
        options: &Options,
        now: Instant,
    ) -> Outcome {
        let RequestHead { mut octets, too_large, .. } = head;
        self.patience = Patience::Unchanged;
        let read = match too_large {
            false => self.receiver.advance(&octets, &mut self.request.head),
            true => Err(Error::TooLong { element: Element::Header, limit: options.limits.head }),
        };
        let whole = matches!(read, Ok(Progress::Head { consumed }) if consumed == octets.len());
        let start = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        octets.extend_from_slice(PROTOCOL);
        self.request.octets = octets;
        self.request.head.protocol = Span { start, end: start.saturating_add(PROTOCOL.len() as u32) };
        self.request.head.version = Version::Http2;
        self.request.head_at = now;
        match read {
            Err(error) => return self.refuse(Refusal::Head(error), now),
            // Two readers of one head would disagree: it is nobody's.
            Ok(_) if !whole => return Outcome::Close,
            Ok(_) => {}
        }
        match self.expect_body(ended, options) {
            Err(refusal) => self.refuse(refusal, now),
            Ok(()) if ended => self.ready(now),
            Ok(()) => {
                self.patience = Patience::Body;
                Outcome::Wait
            }
        }
    }

    /// Some of the body; `ended` when it is the last of it. What comes after a refusal is thrown away.
    pub(crate) fn take_data(
        &mut self,
        octets: &[u8],
        ended: bool,
        options: &Options,
        now: Instant,
    ) -> Outcome {
        self.patience = Patience::Unchanged;
        if self.activity != Activity::Receiving {
            return Outcome::Wait;
        }
        let length = self.request.body.len() + octets.len() as u64;
        if options.limits.body.is_some_and(|limit| length > limit) {
            return self.refuse(Refusal::Body(Error::ContentTooLarge), now);
        }
        if let Err(refusal) = self.store(octets, options) {
            return self.refuse(refusal, now);
        }
        self.body_octets += octets.len() as u64;
        self.patience = Patience::Body;
        if ended { self.ready(now) } else { Outcome::Wait }
    }

    /// Whether the body is in a file.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.request.body, Body::File { .. })
    }
}
