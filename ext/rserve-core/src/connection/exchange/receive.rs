//! The way in: from what the socket brings to one complete request, or the reason why it is refused.

use std::io::IoSlice;
use std::mem;
use std::time::{Duration, Instant};

use rserve_http1::proxy;
use rserve_http1::{Framing, Progress};

use super::{Activity, Exchange, Outcome, Patience, SCRATCH};
use crate::config::options::{Options, ProxyProtocol};
use crate::connection::body::Body;
use crate::connection::request::{Refusal, Request};
use crate::net::stream::{Received, Stream};
use crate::tuning::READ_BUDGET;

/// How long a body may take, however few octets of it come …
pub(super) const BODY_GRACE: Duration = Duration::from_secs(60);

/// … and how many must have come for each second more.
pub(super) const BODY_RATE: u64 = 500;

/// An idle connection gives back buffers larger than this.
const IDLE_CAPACITY: usize = 2 * 1024;

/// What may come before the first request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Preface {
    /// A PROXY header.
    Proxy(ProxyProtocol),
    /// What a client of HTTP/2 sends first.
    Http2,
}

impl Preface {
    pub(super) fn of(options: &Options) -> Option<Self> {
        options.proxy_protocol.map(Self::Proxy).or_else(|| Self::after_proxy(options))
    }

    pub(super) fn after_proxy(options: &Options) -> Option<Self> {
        options.http2.then_some(Self::Http2)
    }
}

impl Exchange {
    pub(super) fn receive(&mut self, options: &Options, now: Instant) -> Outcome {
        if self.is_blocked() {
            // See `expect_body`.
            let _ = self.flush();
        }
        let outcome = SCRATCH.with_borrow_mut(|scratch| self.receive_with(scratch, options, now));
        if outcome == Outcome::Wait && self.receiver.awaits_head() {
            if self.input.is_empty() {
                if self.input.capacity() > IDLE_CAPACITY {
                    self.input = Vec::new();
                }
                // A client in the middle of a handshake is about to send a request.
                self.head_begun = self.stream.as_ref().is_some_and(Stream::in_handshake);
            } else if !mem::replace(&mut self.head_begun, true) {
                self.patience = Patience::FirstData;
            }
        }
        outcome
    }

    fn receive_with(&mut self, scratch: &mut [u8], options: &Options, now: Instant) -> Outcome {
        if !self.input.is_empty() {
            let input = mem::take(&mut self.input);
            if let Some(outcome) = self.digest_and_keep(input, options, now) {
                return outcome;
            }
        }
        let mut budget = READ_BUDGET;
        while !self.drained {
            if budget == 0 {
                return Outcome::Again;
            }
            let Some(stream) = &mut self.stream else { return Outcome::Close };
            let count = match stream.receive(scratch) {
                Ok(Received::Octets(count)) => count,
                Ok(Received::WouldBlock) => {
                    self.drained = true;
                    break;
                }
                // A request that is incomplete now will never be complete.
                Ok(Received::Eof) => return Outcome::Close,
                Err(_) => return self.fail(),
            };
            // epoll(7): a short read on a stream socket means that it is empty; a new edge follows new octets. None
            // follows the end of the stream when it came in the same edge as the last octets.
            self.drained = count < scratch.len() && !self.ended && stream.short_read_drains();
            let outcome = if self.input.is_empty() && self.preface.is_none() {
                match self.digest(&scratch[..count], options, now) {
                    Ok((consumed, ready)) => {
                        self.input.extend_from_slice(&scratch[consumed..count]);
                        ready.then(|| self.ready(now))
                    }
                    Err(refusal) => Some(self.refuse(refusal, now)),
                }
            } else {
                let mut input = mem::take(&mut self.input);
                input.extend_from_slice(&scratch[..count]);
                self.digest_and_keep(input, options, now)
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
            budget = budget.saturating_sub(count);
            if !self.receiver.awaits_head() {
                self.body_octets += count as u64;
                self.patience = Patience::Body;
            }
        }
        Outcome::Wait
    }

    fn digest_and_keep(&mut self, mut input: Vec<u8>, options: &Options, now: Instant) -> Option<Outcome> {
        if let Some(Preface::Proxy(version)) = self.preface {
            let preface = match version {
                ProxyProtocol::V1 => proxy::parse_v1(&input),
                ProxyProtocol::V2 => proxy::parse_v2(&input),
            };
            match preface {
                Ok(proxy::Preface::Partial) => {
                    self.input = input;
                    return None;
                }
                Ok(proxy::Preface::Absent) => {}
                Ok(proxy::Preface::Found { consumed, addresses }) => {
                    input.drain(..consumed);
                    self.request.client = addresses.map(|addresses| addresses.source.ip());
                }
                // Nobody knows who this is or where its request starts.
                Err(_) => return Some(Outcome::Close),
            }
            self.preface = Preface::after_proxy(options);
        }
        if self.preface == Some(Preface::Http2) {
            match self.speaks_http2(&input) {
                None => {
                    self.input = input;
                    return None;
                }
                Some(true) => {
                    self.input = input;
                    return Some(Outcome::Carry);
                }
                Some(false) => self.preface = None,
            }
        }
        match self.digest(&input, options, now) {
            Ok((consumed, ready)) => {
                input.drain(..consumed);
                self.input = input;
                ready.then(|| self.ready(now))
            }
            Err(refusal) => Some(self.refuse(refusal, now)),
        }
    }

    /// Whether a client that has sent `input` speaks HTTP/2: by what it chose when TLS began, else by what it sends.
    fn speaks_http2(&self, input: &[u8]) -> Option<bool> {
        let stream = self.stream.as_ref()?;
        if stream.is_tls() {
            return (!input.is_empty()).then(|| stream.chose_http2());
        }
        match rserve_http2::preface(input) {
            rserve_http2::Preface::Whole => Some(true),
            rserve_http2::Preface::Absent => Some(false),
            rserve_http2::Preface::Partial => None,
        }
    }

    /// Understands as much of `octets` as belongs to the current request: how many octets, and whether it is complete.
    fn digest(&mut self, octets: &[u8], options: &Options, now: Instant) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        loop {
            let rest = &octets[at..];
            let in_head = self.receiver.awaits_head();
            let progress = match self.receiver.advance(rest, &mut self.request.head) {
                Ok(progress) => progress,
                Err(error) if in_head => {
                    // What is known of the request is for the log.
                    self.request.octets.clear();
                    self.request.octets.extend_from_slice(rest);
                    return Err(Refusal::Head(error));
                }
                Err(error) => return Err(Refusal::Body(error)),
            };
            match progress {
                Progress::Partial { consumed } => return Ok((at + consumed, false)),
                Progress::Head { consumed } => {
                    self.request.octets.clear();
                    self.request.octets.extend_from_slice(&rest[..consumed]);
                    self.request.head_at = now;
                    self.body_octets = 0;
                    at += consumed;
                    if self.begins_upload(octets.len() > at, options) {
                        return Ok((at, true));
                    }
                    self.expect_body(octets.len() > at, options)?;
                }
                Progress::Data { consumed, data } => {
                    self.store(&rest[data], options)?;
                    at += consumed;
                }
                Progress::End { consumed } => return Ok((at + consumed, true)),
            }
        }
    }

    /// Adds octets to the body of the request.
    pub(super) fn store(&mut self, octets: &[u8], options: &Options) -> Result<(), Refusal> {
        if octets.is_empty() {
            return Ok(());
        }
        self.request.body.append(octets, &options.temp_folder).map_err(Refusal::Storage)
    }

    /// When a body is given up of which some came `now`: after `pause` without any more of it, as in Puma, or when all
    /// of it together comes too slowly.
    pub(crate) fn body_due(&self, now: Instant, pause: Duration) -> Instant {
        let earned = Duration::from_secs(self.body_octets / BODY_RATE);
        (now + pause).min(self.request.head_at + BODY_GRACE + earned)
    }

    pub(super) fn expect_body(&mut self, begun: bool, options: &Options) -> Result<(), Refusal> {
        let expected = match self.request.head.framing {
            Framing::None | Framing::Chunked => 0,
            Framing::Length(length) => length,
        };
        self.request.body = Body::expecting(expected, &options.temp_folder).map_err(Refusal::Storage)?;
        if !self.request.head.expects_continue || begun {
            return Ok(());
        }
        if self.request.head.framing == Framing::None {
            // Nothing will come that the client could be waiting to send, so this goes out right before the response.
            self.corked = true;
            let octets = IoSlice::new(rserve_http1::encode::CONTINUE);
            return self.outgoing.push(&[octets], 0, &options.temp_folder).map_err(Refusal::Storage);
        }
        // One that is lost shows when it is read from. What the socket has no room for, since the client is still to read
        // the response before, goes out when it has.
        let _ = self.write(&[IoSlice::new(rserve_http1::encode::CONTINUE)], options);
        Ok(())
    }

    pub(super) fn ready(&mut self, now: Instant) -> Outcome {
        self.request.ready_at = now;
        if let Err(error) = self.request.body.rewind() {
            return self.refuse(Refusal::Storage(error), now);
        }
        self.activity = Activity::Ready;
        Outcome::Queue
    }

    /// Turns the request into one that the server itself answers; nothing that follows it is ever read as a request.
    pub(crate) fn refuse(&mut self, refusal: Refusal, now: Instant) -> Outcome {
        self.request.refusal = Some(refusal);
        self.request.body = Body::Empty;
        self.request.ready_at = now;
        self.input = Vec::new();
        self.activity = Activity::Ready;
        Outcome::Queue
    }

    /// The request that is being received will not be served; what follows is an answer and the end.
    pub(crate) fn abandon_request(&mut self) {
        self.request.body = Body::Empty;
        self.input = Vec::new();
        self.activity = Activity::Ready;
    }

    /// Hands the complete request to the Ruby thread that serves it.
    pub(crate) fn take_request(&mut self) -> Request {
        let (serial, client) = (self.request.serial + 1, self.request.client);
        let blank = Request { serial, client, ..Request::blank(self.request.ready_at) };
        mem::replace(&mut self.request, blank)
    }

    /// Takes the served request's buffers back for the next one.
    pub(crate) fn recycle(&mut self, request: &mut Request) {
        if request.octets.capacity() <= IDLE_CAPACITY {
            request.octets.clear();
            mem::swap(&mut self.request.octets, &mut request.octets);
            mem::swap(&mut self.request.head, &mut request.head);
        } else {
            request.octets = Vec::new();
        }
    }
}
