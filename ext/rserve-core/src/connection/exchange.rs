//! What one connection is in the middle of: receiving a request, having it served, sending the rest of a response.
//!
//! Everything here is done by the *owner* of the connection at the moment (see [`crate::connection`]); nothing waits.

mod abandoned;
mod carriage;
mod file_answer;
mod linger;
mod own_answer;
mod reader;
mod receive;
mod send;
mod stream;
mod told;
mod upload;

use std::cell::RefCell;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rserve_http1::Receiver;

use crate::config::options::Options;
use crate::connection::access::Access;
use crate::connection::body::Body;
use crate::connection::outgoing::{Flushed, HELD_LIMIT, Outgoing};
use crate::connection::request::Request;
use crate::connection::unread::Unread;
use crate::net::edges::{ENDED, READABLE};
use crate::net::stream::Stream;
use crate::net::tls::Fault;
use crate::net::transfer::Ticket;

pub(crate) use abandoned::Audience;
pub(crate) use carriage::{Brought, Carriage, Due};
pub(crate) use linger::LINGER_TIME;
pub(crate) use reader::Waiter;
use receive::Preface;
use told::Told;
pub use upload::BodyFailure;
pub(crate) use upload::Piece;
use upload::Upload;

/// Octets read at once.
const READ_SIZE: usize = 64 * 1024;

thread_local! {
    /// Reads land here first, so that a connection holds only the octets that it must keep.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Activity {
    /// Awaiting or reading a request.
    Receiving,
    /// A request is complete: queued, or with a Ruby thread.
    Ready,
    /// The socket has not yet taken all of the response.
    Sending,
    /// Carrying requests of HTTP/2, each of which is an exchange of its own.
    Carrying,
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
    /// It speaks HTTP/2 from now on: the poller goes on with it.
    Carry,
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
    /// A refused client is still sending: [`Exchange::linger_due`].
    Lingering,
}

pub(crate) struct Exchange {
    stream: Option<Stream>,
    activity: Activity,
    /// Received and not yet understood.
    input: Vec<u8>,
    receiver: Receiver,
    request: Request,
    outgoing: Outgoing,
    /// How far ahead of its reader this response may be without waiting for it.
    advance: u64,
    /// Where who makes the response waits, for a reader that is too far behind.
    waiting: Option<Waiter>,
    /// The socket had nothing more at the last read; cleared by a readable edge.
    drained: bool,
    /// The peer has sent its last octet, which may not have been read yet.
    ended: bool,
    /// The application has a descriptor of the socket, too.
    shared: bool,
    /// Part of a head has come, or of a TLS handshake.
    head_begun: bool,
    /// What may come before the first request and is still to be read.
    preface: Option<Preface>,
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
    lost: Option<io::ErrorKind>,
    /// The server has answered in place of the application, from which nothing more is taken.
    given_up: bool,
    /// The body of the request, if the application reads it while it comes.
    upload: Option<Box<Upload>>,
    /// Somebody may wait at a descriptor of the socket.
    awaited: bool,
    /// Once it carries requests of HTTP/2.
    carriage: Option<Box<Carriage>>,
    /// The request is complete, and whether it is for a file is still to be seen.
    undecided: bool,
    /// A request was answered with a file since this was last told.
    answered_with_file: bool,
    /// What the access log tells of the request that is being served.
    access: Option<Box<Access>>,
    /// What operators see of the connection, if they want to.
    told: Option<Box<Told>>,
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
            activity: Activity::Receiving,
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
            preface: Preface::of(options),
            after_sending: AfterSending::Close,
            lingers_since: None,
            lingered: 0,
            body_octets: 0,
            unsent: None,
            sent_at: None,
            corked: false,
            asked: false,
            lost: None,
            given_up: false,
            upload: None,
            awaited: false,
            carriage: None,
            undecided: false,
            answered_with_file: false,
            access: None,
            told: None,
            patience: Patience::Unchanged,
            registered: false,
        }
    }

    /// The client is no load balancer.
    pub(crate) fn expect_no_proxy(&mut self, options: &Options) {
        self.preface = Preface::after_proxy(options);
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
        stream.socket().filter(|_| as_it_came && !copied && !self.ended)
    }

    /// The client's address as the load balancer says.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.request.client
    }

    pub(crate) fn activity(&self) -> Activity {
        self.activity
    }

    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// The socket that it is known to epoll by.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref()?.socket()
    }

    #[cfg(test)]
    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut()
    }

    /// What comes next is much work: it belongs to a TLS handshake, goes to a file or comes from one.
    pub(crate) fn is_heavy(&self) -> bool {
        let handshake = || self.stream.as_ref().is_some_and(Stream::awaits_handshake);
        handshake() || self.stores_upload() || self.awaits_file()
    }

    /// What the client sends next goes to a file.
    pub(crate) fn stores_upload(&self) -> bool {
        match &self.carriage {
            Some(carriage) => carriage.stores,
            None => self.is_stored() && self.activity == Activity::Receiving,
        }
    }

    /// Neither a part of a request nor of a response is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        if let Some(carriage) = &self.carriage {
            return carriage.wire().is_idle();
        }
        self.activity == Activity::Receiving
            && !self.head_begun
            && self.receiver.awaits_head()
            && self.input.is_empty()
    }

    /// Nobody is owed anything on this connection.
    pub(crate) fn may_hurry(&self) -> bool {
        self.is_idle() || self.activity == Activity::Lingering
    }

    /// Some of a request's head has come but not all of it.
    pub(crate) fn in_head(&self) -> bool {
        self.activity == Activity::Receiving
            && self.receiver.awaits_head()
            && self.preface.is_none()
            && !self.input.is_empty()
    }

    /// The head of a request has come but not yet all of its body.
    pub(crate) fn in_body(&self) -> bool {
        self.activity == Activity::Receiving && !self.receiver.awaits_head()
    }

    /// Requests that this connection has brought so far.
    pub(crate) fn served(&self) -> u32 {
        match &self.carriage {
            Some(carriage) => carriage.wire().standing().requests,
            None => self.request.serial,
        }
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
        self.carriage_saw(edges);
    }

    /// Goes on with whatever the connection is in the middle of, until the socket has no more to give or take.
    pub(crate) fn progress(&mut self, options: &Options, now: Instant) -> Outcome {
        let outcome = self.go_on(options, now);
        self.tell_state();
        outcome
    }

    fn go_on(&mut self, options: &Options, now: Instant) -> Outcome {
        self.patience = Patience::Unchanged;
        loop {
            let concluded = self.activity == Activity::Sending && self.conclude();
            match self.activity {
                Activity::Receiving => return self.receive(options, now),
                Activity::Sending => match self.flush() {
                    Ok(Flushed::All) => {
                        self.patience = Patience::Anew;
                        self.tell_access(now);
                        if self.is_stream() {
                            return Outcome::Close;
                        }
                        match self.after_sending {
                            AfterSending::KeepAlive => self.activity = Activity::Receiving,
                            // With unread input the client would be reset, perhaps before it has read the response.
                            AfterSending::Close if !concluded && self.has_unread() => self.linger(),
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
                    Ok(Flushed::Changed) | Err(_) => {
                        self.after_sending = AfterSending::Abort;
                        return Outcome::Close;
                    }
                },
                Activity::Lingering => return self.discard(now),
                Activity::Ready => return Outcome::Wait,
                Activity::Carrying => return Outcome::Carry,
                Activity::Gone => return Outcome::Close,
            }
        }
    }

    /// The client has sent more than was asked of it.
    fn has_unread(&self) -> bool {
        !self.input.is_empty() || self.stream.as_ref().is_some_and(Stream::has_unread)
    }

    /// Octets of the complete request's body.
    pub(crate) fn request_len(&self) -> u64 {
        self.request.body.len()
    }

    /// The server itself answers the complete request, because it is none that the application may have.
    pub(crate) fn is_refused(&self) -> bool {
        self.request.refusal.is_some()
    }

    /// Path of the complete request, as it was sent.
    pub(crate) fn request_path(&self) -> &[u8] {
        self.request.head.path.of(&self.request.octets)
    }

    /// When the complete request became so.
    pub(crate) fn ready_at(&self) -> Instant {
        self.request.ready_at
    }

    /// The response is complete; [`Exchange::progress`] goes on from here.
    pub(crate) fn finish(&mut self, after: AfterSending) {
        if self.activity == Activity::Ready {
            self.after_sending = if self.upload.is_some() { self.end_upload(after) } else { after };
            self.unsent = None;
            self.advance = HELD_LIMIT;
            self.corked = false;
            self.sent_at = None;
            self.head_begun = false;
            self.activity = Activity::Sending;
        }
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

    /// Gives the socket up, with the octets that were read beyond the request.
    pub(crate) fn hijack(&mut self) -> Option<(Stream, Vec<u8>)> {
        if self.given_up || self.is_stream() {
            return None;
        }
        self.activity = Activity::Gone;
        self.leave_upload();
        self.give_up_access();
        self.tell_state();
        let mut stream = self.stream.take()?;
        if stream.holds_back() {
            // A failure shows when the application writes.
            let _ = stream.flush();
        }
        Some((stream, mem::take(&mut self.input)))
    }

    /// Another process has the connection from now on.
    pub(crate) fn leave(&mut self) {
        self.activity = Activity::Gone;
        self.stream = None;
        self.tell_state();
    }

    /// Somebody else gets a descriptor of the socket.
    pub(crate) fn share(&mut self) {
        self.shared = true;
    }

    /// The client sees the end; sending fails.
    pub(crate) fn shut_down(&self) {
        if let Some(stream) = &self.stream {
            stream.shut_down();
        }
    }

    /// Closes the socket now: the client sees the end, even if others have descriptors of it.
    pub(crate) fn close(&mut self) {
        let ending_well = match self.activity {
            Activity::Sending => self.after_sending != AfterSending::Abort,
            _ => self.is_idle(),
        };
        self.give_up_access();
        if let Some(carriage) = self.carriage.take() {
            self.stream = carriage.wire().end();
        }
        match &mut self.stream {
            Some(stream) if ending_well => stream.finish(),
            Some(stream) => stream.abort(),
            None => {}
        }
        self.activity = Activity::Gone;
        self.tell_state();
        if let Some(stream) = self.stream.take()
            && !stream.is_http2()
            && (self.shared || self.awaited || crate::sys::forks::has_forked())
        {
            stream.shut_down();
        }
        self.outgoing.clear();
        self.upload = None;
        self.request.body = Body::Empty;
    }
}

#[cfg(test)]
mod tests;
