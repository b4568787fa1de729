//! What one connection is in the middle of: receiving a request, having it served, sending the rest of a response.
//!
//! Everything here is done by whoever *owns* the connection at the moment (see [`crate::connection`]); nothing waits.

mod abandoned;
mod reader;
mod receive;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rserve_http1::{Error as HttpError, Head, Receiver, Version, encode};

use crate::config::options::{Compat, Options, ProxyProtocol};
use crate::connection::access::{self, Access};
use crate::connection::body::Body;
use crate::connection::outgoing::{Flushed, HELD_LIMIT, Outgoing};
use crate::connection::unread::Unread;
use crate::connection::{ENDED, READABLE};
use crate::net::stream::{Peer, Received, Stream};
use crate::net::tls::Fault;
use crate::net::transfer::Ticket;
use crate::pool::backlog::Seat;

pub(crate) use abandoned::Audience;

/// Octets read at once.
const READ_SIZE: usize = 64 * 1024;

/// Octets of one response that are sent before other connections get their turn.
const SEND_BUDGET: usize = 1 << 18;

/// How long a refused client may take to read its answer …
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);

/// … a second more for so many octets that it is still sending …
const LINGER_RATE: u64 = 64 * 1024;

/// … and so long at most.
const LINGER_MOST: Duration = Duration::from_secs(30);

/// Parts of a body that follow each other within this time go out together.
const CORK_TIME: Duration = Duration::from_millis(1);

/// Octets of parts that are held back at most.
const CORK_LIMIT: usize = 32 * 1024;

thread_local! {
    /// Reads land here first, so that a connection holds only the octets that it must keep.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// One complete request, or one that was refused.
#[derive(Debug)]
pub struct Request {
    /// The head's octets; the spans of `head` point into them. Of a head that was refused, all that had come.
    pub octets: Vec<u8>,
    /// The parsed head; of one that was refused, the parts that were understood.
    pub head: Head,
    /// The body, complete, positioned at its start.
    pub body: Body,
    /// Why the request is not to be run but answered with an error.
    pub refusal: Option<Refusal>,
    /// When the head was complete.
    pub head_at: Instant,
    /// When the body was complete.
    pub ready_at: Instant,
    /// How many requests this connection brought before.
    pub serial: u32,
    /// Whom the load balancer says it speaks for (PROXY protocol).
    pub client: Option<IpAddr>,
}

/// Why a request is answered by the server itself.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The head is not acceptable.
    #[error(transparent)]
    Head(HttpError),
    /// The head was good, the body is not acceptable.
    #[error(transparent)]
    Body(HttpError),
    /// The body could not be stored.
    #[error("cannot store the request body: {0}")]
    Storage(#[source] io::Error),
}

impl Refusal {
    /// The status of the response (RFC 9110 §15.5, §15.6).
    pub fn status(&self, options: &Options) -> u16 {
        match self {
            Refusal::Head(error) | Refusal::Body(error) => match error.status() {
                414 | 431 if options.poses_as_puma => 400,
                status => status,
            },
            Refusal::Storage(_) => 507,
        }
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Awaiting or reading a request.
    Receiving,
    /// A request is complete: queued, or with a Ruby thread.
    Ready,
    /// The socket has not yet taken all of the response.
    Sending,
    /// Answered for the last time; what the peer still sends is thrown away.
    Lingering,
    /// Closed or hijacked.
    Gone,
}

/// What the owner must do after [`Exchange::progress`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// A request is ready for a Ruby thread.
    Queue,
    /// Nothing more now; an edge or the deadline comes next.
    Wait,
    /// There is more to do, but others first.
    Again,
    /// The connection is over.
    Close,
}

/// When a waiting connection is given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// The deadline that is set stays.
    Unchanged,
    /// The connection came to a new state, which has a deadline of its own.
    Anew,
    /// A request begins: all of its head must come in `first_data_timeout`.
    FirstData,
    /// Some of a body came: [`Exchange::body_due`].
    Body,
    /// Some of a response was taken: [`Exchange::reader_due`].
    Stalled,
    /// Who was refused is still sending: [`Exchange::linger_due`].
    Lingering,
}

pub(crate) struct Exchange {
    stream: Option<Stream>,
    phase: Phase,
    /// Received and not yet understood.
    input: Vec<u8>,
    receiver: Receiver,
    request: Request,
    outgoing: Outgoing,
    /// How far ahead of its reader this response may be without waiting for it.
    advance: u64,
    /// Where the thread waits that makes the response, for a reader that is too far behind.
    waiting: Option<Arc<Seat>>,
    /// The socket had nothing more at the last read; cleared by a readable edge.
    drained: bool,
    /// The peer has sent its last octet, which may not have been read yet.
    ended: bool,
    /// The application has a descriptor of the socket, too.
    shared: bool,
    /// Part of a head has come, or of a TLS handshake.
    head_begun: bool,
    /// The PROXY header is still to be read.
    preface: Option<ProxyProtocol>,
    /// What follows once `outgoing` is empty.
    after_sending: AfterSending,
    /// Since when what the peer sends is thrown away, and how much that was.
    lingers_since: Option<Instant>,
    lingered: u64,
    /// Octets of the current request's body as it came, chunk sizes and all.
    body_octets: u64,
    /// What was left to be sent when the socket last took nothing more.
    unsent: Option<u64>,
    /// When octets of the response last went to the socket.
    sent_at: Option<Instant>,
    /// Octets of `outgoing` are held back to go out together; somebody has promised to flush them.
    corked: bool,
    /// The client was asked whether it still waits.
    asked: bool,
    /// Sending failed: nothing more will reach the client.
    lost: bool,
    /// What the access log tells of the request that is being served.
    access: Option<Box<Access>>,
    pub(crate) patience: Patience,
    /// The socket is known to epoll. A connection that brings its request at once and is closed after the response
    /// never is.
    pub(crate) registered: bool,
}

/// What becomes of a connection once its response is out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AfterSending {
    /// It waits for its next request.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is cut: what was sent is not all of the response, and with TLS the client is not told that it were.
    Abort,
    /// It is closed, after reading what the peer still sends for a while.
    Linger,
}

impl Exchange {
    pub(crate) fn new(stream: Stream, options: &Options, unread: &Arc<Unread>, now: Instant) -> Self {
        Self {
            stream: Some(stream),
            phase: Phase::Receiving,
            input: Vec::new(),
            receiver: Receiver::new(options.limits.clone()),
            request: Request::blank(now),
            outgoing: Outgoing::new(unread),
            advance: HELD_LIMIT,
            waiting: None,
            drained: false,
            ended: false,
            shared: false,
            head_begun: false,
            preface: options.proxy_protocol,
            after_sending: AfterSending::Close,
            lingers_since: None,
            lingered: 0,
            body_octets: 0,
            unsent: None,
            sent_at: None,
            corked: false,
            asked: false,
            lost: false,
            access: None,
            patience: Patience::Unchanged,
            registered: false,
        }
    }

    /// The client is no load balancer.
    pub(crate) fn expect_no_preface(&mut self) {
        self.preface = None;
    }

    /// Another worker had the connection before, and has read no more of it than whole requests.
    pub(crate) fn go_on_with(&mut self, ticket: Ticket) {
        self.preface = None;
        self.request.serial = ticket.serial;
        self.request.client = ticket.client;
    }

    /// The socket, when another process can go on with the connection, and need do no more than that.
    pub(crate) fn transferable(&self) -> Option<BorrowedFd<'_>> {
        let stream = self.stream.as_ref().filter(|stream| !stream.is_tls())?;
        let as_it_came = self.is_idle() && self.preface.is_none();
        // A copy of the socket elsewhere would keep it open when the other process closes it.
        let copied = self.shared || crate::sys::forks::has_forked();
        (as_it_came && !copied && !self.ended).then(|| stream.as_fd())
    }

    /// Whom the load balancer says the connection speaks for.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.request.client
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut()
    }

    /// What the client sends next takes long to deal with: it belongs to a TLS handshake, or goes to a file.
    pub(crate) fn is_laborious(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::awaits_handshake) || self.stores_upload()
    }

    /// What the client sends next goes to a file.
    pub(crate) fn stores_upload(&self) -> bool {
        matches!(self.request.body, Body::File { .. }) && self.phase == Phase::Receiving
    }

    /// Neither a part of a request nor of a response is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Receiving
            && !self.head_begun
            && self.receiver.awaits_head()
            && self.input.is_empty()
    }

    /// Nobody is owed anything on this connection.
    pub(crate) fn may_hurry(&self) -> bool {
        self.is_idle() || self.phase == Phase::Lingering
    }

    /// Some of a request's head has come but not all of it.
    pub(crate) fn in_head(&self) -> bool {
        self.phase == Phase::Receiving
            && self.receiver.awaits_head()
            && self.preface.is_none()
            && !self.input.is_empty()
    }

    /// The head of a request has come but not yet all of its body.
    pub(crate) fn in_body(&self) -> bool {
        self.phase == Phase::Receiving && !self.receiver.awaits_head()
    }

    /// Requests that this connection has brought so far.
    pub(crate) fn served(&self) -> u32 {
        self.request.serial
    }

    /// Takes note of the edges that epoll reported.
    pub(crate) fn saw(&mut self, edges: u8) {
        if edges & READABLE != 0 {
            self.drained = false;
        }
        self.ended |= edges & ENDED != 0;
        if let Some(stream) = &mut self.stream
            && stream.saw(edges)
        {
            self.drained = false;
        }
    }

    /// Goes on with whatever the connection is in the middle of, until the socket has no more to give or take.
    pub(crate) fn progress(&mut self, options: &Options, now: Instant) -> Outcome {
        self.patience = Patience::Unchanged;
        loop {
            match self.phase {
                Phase::Receiving => return self.receive(options, now),
                Phase::Sending => match self.flush() {
                    Ok(Flushed::All) => {
                        self.patience = Patience::Anew;
                        self.tell_access();
                        match self.after_sending {
                            AfterSending::KeepAlive => self.phase = Phase::Receiving,
                            // Who sends more than is read would be reset, perhaps before it has read the response.
                            AfterSending::Close if !self.input.is_empty() => self.linger(),
                            AfterSending::Close | AfterSending::Abort => return Outcome::Close,
                            AfterSending::Linger => self.linger(),
                        }
                    }
                    Ok(Flushed::Blocked) => {
                        // A client that does not read may well send: that is no progress.
                        let left = self.outgoing.left();
                        if self.unsent.replace(left).is_none_or(|before| left < before) {
                            self.patience = Patience::Stalled;
                        }
                        return Outcome::Wait;
                    }
                    Ok(Flushed::More) => return Outcome::Again,
                    Ok(Flushed::Short) | Err(_) => return Outcome::Close,
                },
                Phase::Lingering => return self.discard(now),
                Phase::Ready => return Outcome::Wait,
                Phase::Gone => return Outcome::Close,
            }
        }
    }

    /// Sends `slices` after what already waits; what the socket does not take is queued.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], options: &Options) -> io::Result<()> {
        if mem::replace(&mut self.corked, false) {
            self.flush()?;
        }
        if self.lost {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if let Some(access) = &mut self.access {
            access.add(slices);
        }
        let mut sent = 0;
        if self.outgoing.is_empty() {
            let count = match slices {
                [one] => stream.send(one)?,
                many => stream.send_gathered(many)?,
            };
            sent = count.unwrap_or(0);
            if sent == slices.iter().map(|slice| slice.len()).sum() {
                return Ok(());
            }
        }
        self.outgoing.push(slices, sent, &options.temp_folder)
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
        if closely && room && !self.lost && self.outgoing.in_memory() + len <= CORK_LIMIT {
            if let Some(access) = &mut self.access {
                access.add(slices);
            }
            self.outgoing.push(slices, 0, &options.temp_folder)?;
            return Ok(!mem::replace(&mut self.corked, true));
        }
        self.sent_at = Some(now);
        self.write(slices, options)?;
        Ok(false)
    }

    /// Sends what was held back.
    pub(crate) fn uncork(&mut self, now: Instant) {
        if mem::replace(&mut self.corked, false) {
            self.sent_at = Some(now);
            // A lost connection shows at the next write.
            let _ = self.flush();
        }
    }

    /// Octets of the complete request's body.
    pub(crate) fn request_len(&self) -> u64 {
        self.request.body.len()
    }

    pub(crate) fn write_file(&mut self, file: std::fs::File, offset: u64, len: u64) {
        if let Some(access) = &mut self.access {
            access.add_file(len);
        }
        self.outgoing.push_file(file, offset, len);
    }

    #[cfg(test)]
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    pub(crate) fn flush(&mut self) -> io::Result<Flushed> {
        if self.lost {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let flushed = match &mut self.stream {
            Some(stream) => self.outgoing.flush(stream, SEND_BUDGET),
            None => Ok(Flushed::All),
        };
        self.lost = flushed.is_err();
        if matches!(flushed, Ok(Flushed::All) | Err(_)) {
            self.wake();
        }
        flushed
    }

    /// Whether octets wait for the socket to take more.
    pub(crate) fn is_blocked(&self) -> bool {
        let flushed = self.outgoing.is_empty() && self.stream.as_ref().is_none_or(Stream::is_flushed);
        !flushed && !self.corked && !self.lost
    }

    /// Begins the access log's line of `request`, if there is an access log.
    pub(crate) fn begin_access(&mut self, request: &Request, peer: Peer) {
        self.access = self.access_of(request, peer);
    }

    fn access_of(&self, request: &Request, peer: Peer) -> Option<Box<Access>> {
        let tls = self.stream.as_ref().is_some_and(Stream::is_tls);
        let client = request.client.unwrap_or_else(|| peer.ip());
        access::is_wanted().then(|| Box::new(Access::new(request, client, tls, Instant::now())))
    }

    /// The response has this status.
    pub(crate) fn note_status(&mut self, status: u16) {
        if let Some(access) = &mut self.access {
            access.answered(status);
        }
    }

    /// All of the response has gone out, if it was not cut.
    fn tell_access(&mut self) {
        if let Some(access) = self.access.take()
            && self.after_sending != AfterSending::Abort
        {
            access.complete();
        }
    }

    /// The response is complete; [`Exchange::progress`] goes on from here.
    pub(crate) fn finish(&mut self, after: AfterSending) {
        if self.phase == Phase::Ready {
            self.after_sending = after;
            self.unsent = None;
            self.advance = HELD_LIMIT;
            self.corked = false;
            self.sent_at = None;
            self.head_begun = false;
            self.phase = Phase::Sending;
        }
    }

    /// The request is not to be waited for any longer; the client is told.
    pub(crate) fn answer_timeout(&mut self, options: &Options, peer: Peer) {
        self.access = self.access_of(&self.request, peer);
        self.note_status(408);
        let (connection, date): (&[u8], &[u8]) = match options.compat {
            Compat::Puma6 => (b"Connection: close\r\n", b"Date: "),
            _ => (b"connection: close\r\n", b"date: "),
        };
        let mut reply = Vec::new();
        encode::status_line(&mut reply, Version::Http11, 408);
        reply.extend_from_slice(connection);
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH)
            && !options.poses_as_puma
        {
            reply.extend_from_slice(date);
            rserve_http1::date(&mut reply, now.as_secs());
            reply.extend_from_slice(b"\r\n");
        }
        reply.extend_from_slice(b"\r\n");
        self.abandon_request();
        if let Some(stream) = self.stream_mut() {
            let _ = stream.send(&reply);
        }
        self.finish(AfterSending::Linger);
    }

    /// Reading failed. A client that did not understand TLS, or was not understood, gets to read OpenSSL's alert.
    fn fail(&mut self) -> Outcome {
        match &mut self.stream {
            Some(stream) if stream.has_fault() => {
                self.linger();
                Outcome::Again
            }
            _ => Outcome::Close,
        }
    }

    /// Why the connection failed as TLS; told once.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        self.stream.as_mut()?.take_fault()
    }

    fn linger(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.finish_sending();
        }
        self.phase = Phase::Lingering;
    }

    /// Throws away what a refused client still sends, so that it gets to read its response before the reset that unread
    /// input would cause: many send all of a body before they read.
    fn discard(&mut self, now: Instant) -> Outcome {
        self.lingers_since.get_or_insert(now);
        let before = self.lingered;
        SCRATCH.with_borrow_mut(|scratch| {
            while self.lingered < before + READ_SIZE as u64 {
                let Some(stream) = &mut self.stream else { return Outcome::Close };
                match stream.receive(scratch) {
                    Ok(Received::Octets(count)) => {
                        self.lingered += count as u64;
                        self.patience = Patience::Lingering;
                    }
                    Ok(Received::WouldBlock) => {
                        self.drained = true;
                        return Outcome::Wait;
                    }
                    _ => return Outcome::Close,
                }
            }
            Outcome::Again
        })
    }

    /// When a refused client is given up that is still sending.
    pub(crate) fn linger_due(&self, now: Instant) -> Instant {
        let earned = LINGER_TIME + Duration::from_secs(self.lingered / LINGER_RATE);
        self.lingers_since.unwrap_or(now) + earned.min(LINGER_MOST)
    }

    /// Gives the socket up, with the octets that were read beyond the request.
    pub(crate) fn hijack(&mut self) -> Option<(Stream, Vec<u8>)> {
        self.phase = Phase::Gone;
        self.access = None;
        Some((self.stream.take()?, mem::take(&mut self.input)))
    }

    /// Another process has the connection from now on.
    pub(crate) fn leave(&mut self) {
        self.phase = Phase::Gone;
        self.stream = None;
    }

    /// Somebody else gets a descriptor of the socket.
    pub(crate) fn share(&mut self) {
        self.shared = true;
    }

    /// The client sees the end; whoever sends will fail.
    pub(crate) fn shut_down(&self) {
        if let Some(stream) = &self.stream {
            stream.shut_down();
        }
    }

    /// Closes the socket now: the client sees the end, whoever else has a descriptor of it.
    pub(crate) fn close(&mut self) {
        let ending_well = match self.phase {
            Phase::Sending => self.after_sending != AfterSending::Abort,
            _ => self.is_idle(),
        };
        self.access = None;
        if let Some(stream) = &mut self.stream
            && ending_well
        {
            stream.finish();
        }
        self.phase = Phase::Gone;
        if let Some(stream) = self.stream.take()
            && (self.shared || crate::sys::forks::has_forked())
        {
            stream.shut_down();
        }
        self.outgoing.clear();
        self.request.body = Body::Empty;
    }
}

impl Request {
    fn blank(now: Instant) -> Self {
        Self {
            octets: Vec::new(),
            head: Head::default(),
            body: Body::Empty,
            refusal: None,
            head_at: now,
            ready_at: now,
            serial: 0,
            client: None,
        }
    }
}

#[cfg(test)]
mod tests;
