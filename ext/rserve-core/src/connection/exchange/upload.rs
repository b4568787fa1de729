//! A body that the application reads while it comes (`stream_uploads`). Whoever serves the request owns the connection
//! meanwhile, and reads from it what is asked for, and not much more: nothing is stored.

use std::mem;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rserve_http1::{Error as HttpError, Framing, Progress, encode};

use super::receive::{BODY_GRACE, BODY_RATE};
use super::{AfterSending, Exchange, SCRATCH};
use crate::config::options::Options;
use crate::connection::body::Body;
use crate::net::stream::Received;

/// Of what the application has not read, so much that is there already is thrown away to keep the connection.
const DISCARDED: usize = 256 * 1024;

/// Why no more of a body can be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyFailure {
    /// The client is gone, or the server has answered in the application's place.
    #[error("the client closed the connection before the end of the body")]
    Gone,
    /// As a whole, or since its last octet.
    #[error("the client sent the body too slowly")]
    Late,
    /// It is malformed, or too large.
    #[error(transparent)]
    Refused(HttpError),
    /// The response is out, or the application has taken the connection.
    #[error("closed stream")]
    Over,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// Some of the body.
    Octets,
    /// Nothing now.
    Nothing,
    /// There is no more of it.
    End,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Upload {
    /// Of its request: who has another one reads nothing.
    serial: u32,
    /// Octets of the input that were understood already.
    at: usize,
    /// The client waits for a `100 Continue`.
    expects_continue: bool,
    /// Octets of content so far.
    content: u64,
    /// How long the client was waited for, in all and since its last octet.
    waited: Duration,
    pause: Duration,
    ended: bool,
    failure: Option<BodyFailure>,
}

impl Upload {
    /// All of it.
    pub(super) fn is_read(&self) -> bool {
        self.ended
    }
}

impl Exchange {
    /// Whether the body of the request, whose head is complete, is left to the application; `begun` when some of it came
    /// with the head.
    pub(super) fn begins_upload(&mut self, begun: bool, options: &Options) -> bool {
        let head = &self.request.head;
        let streams = options.stream_uploads.as_ref().is_some_and(|paths| {
            head.framing != Framing::None && paths.include(head.path.of(&self.request.octets))
        });
        if streams {
            self.request.body = Body::Streamed;
            self.upload = Some(Box::new(Upload {
                serial: self.request.serial,
                at: 0,
                expects_continue: head.expects_continue && !begun,
                content: 0,
                waited: Duration::ZERO,
                pause: Duration::ZERO,
                ended: false,
                failure: None,
            }));
        }
        streams
    }

    /// Appends some of the body, at most `most` octets, to `into`; `may_ask` when the client may be told to go on.
    pub(crate) fn read_body(
        &mut self,
        serial: u32,
        most: usize,
        into: &mut Vec<u8>,
        may_ask: bool,
        options: &Options,
    ) -> Result<Piece, BodyFailure> {
        let mut upload = match self.upload.take() {
            Some(upload) if upload.serial == serial => upload,
            other => {
                self.upload = other;
                return Err(BodyFailure::Over);
            }
        };
        let piece = match (&upload.failure, upload.ended) {
            (Some(failure), _) => Err(failure.clone()),
            (None, true) => Ok(Piece::End),
            (None, false) => self.read_piece(&mut upload, most.max(1), into, may_ask, options),
        };
        match &piece {
            Ok(piece) => upload.ended = *piece == Piece::End,
            Err(failure) => upload.failure = Some(failure.clone()),
        }
        self.upload = Some(upload);
        piece
    }

    fn read_piece(
        &mut self,
        upload: &mut Upload,
        most: usize,
        into: &mut Vec<u8>,
        may_ask: bool,
        options: &Options,
    ) -> Result<Piece, BodyFailure> {
        let input = mem::take(&mut self.input);
        let digested = self.digest_body(upload, &input[upload.at..], most, into);
        self.input = input;
        let (consumed, mut piece) = digested?;
        upload.at += consumed;
        while piece == Piece::Nothing {
            // What is left is less than a line.
            self.input.drain(..mem::take(&mut upload.at));
            let received = SCRATCH.with_borrow_mut(|scratch| {
                let Some(count) = self.receive_body(scratch)? else { return Ok(None) };
                upload.pause = Duration::ZERO;
                upload.expects_continue = false;
                let mut input = mem::take(&mut self.input);
                let digested = if input.is_empty() {
                    let digested = self.digest_body(upload, &scratch[..count], most, into);
                    digested.inspect(|(consumed, _)| input.extend_from_slice(&scratch[*consumed..count]))
                } else {
                    input.extend_from_slice(&scratch[..count]);
                    let digested = self.digest_body(upload, &input, most, into);
                    digested.inspect(|(consumed, _)| upload.at = *consumed)
                };
                self.input = input;
                digested.map(|(_, piece)| Some(piece))
            })?;
            let Some(received) = received else {
                if mem::take(&mut upload.expects_continue) && may_ask {
                    let asked = self.write(&[std::io::IoSlice::new(encode::CONTINUE)], options);
                    asked.map_err(|_| BodyFailure::Gone)?;
                }
                return Ok(Piece::Nothing);
            };
            piece = received;
        }
        Ok(piece)
    }

    /// Reads what is there; `None` when that is nothing.
    fn receive_body(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, BodyFailure> {
        if self.given_up || self.lost.is_some() {
            return Err(BodyFailure::Gone);
        }
        let Some(stream) = &mut self.stream else { return Err(BodyFailure::Gone) };
        // The socket itself is waited for, and not its edges.
        stream.forget_edges();
        match stream.receive(scratch) {
            Ok(Received::Octets(count)) => Ok(Some(count)),
            Ok(Received::WouldBlock) => Ok(None),
            Ok(Received::Eof) | Err(_) => Err(BodyFailure::Gone),
        }
    }

    /// Understands the next piece of the body in `octets`: how many octets are done with.
    fn digest_body(
        &mut self,
        upload: &mut Upload,
        octets: &[u8],
        most: usize,
        into: &mut Vec<u8>,
    ) -> Result<(usize, Piece), BodyFailure> {
        let progress = self.receiver.advance_up_to(octets, most, &mut self.request.head);
        let (consumed, piece) = match progress.map_err(BodyFailure::Refused)? {
            Progress::Data { consumed, data } => {
                upload.content += data.len() as u64;
                into.extend_from_slice(&octets[data]);
                (consumed, Piece::Octets)
            }
            Progress::Partial { consumed } => (consumed, Piece::Nothing),
            Progress::End { consumed } => (consumed, Piece::End),
            // Never before the end of the body.
            Progress::Head { .. } => return Err(BodyFailure::Over),
        };
        self.body_octets += consumed as u64;
        Ok((consumed, piece))
    }

    /// Where to wait for more of the body, and for how long; the caller then says how long it was
    /// ([`Exchange::waited_for_body`]). The time in which the application reads nothing does not count.
    pub(crate) fn await_body(&mut self, pause: Duration) -> Result<(OwnedFd, Duration), BodyFailure> {
        let (Some(upload), Some(stream)) = (&mut self.upload, &self.stream) else {
            return Err(BodyFailure::Over);
        };
        let earned = BODY_GRACE + Duration::from_secs(self.body_octets / BODY_RATE);
        let left = pause.saturating_sub(upload.pause).min(earned.saturating_sub(upload.waited));
        if left.is_zero() {
            upload.failure = Some(BodyFailure::Late);
            return Err(BodyFailure::Late);
        }
        let socket = stream.socket().and_then(|socket| socket.try_clone_to_owned().ok());
        // Who waits has a descriptor of the socket, which must not keep it open.
        self.awaited = true;
        socket.map(|socket| (socket, left)).ok_or(BodyFailure::Gone)
    }

    /// See [`Exchange::await_body`].
    pub(crate) fn waited_for_body(&mut self, serial: u32, time: Duration) {
        if let Some(upload) = self.upload.as_mut().filter(|upload| upload.serial == serial) {
            upload.waited += time;
            upload.pause += time;
        }
    }

    /// Whether all of the body was read, or, if the application `wants_no_more` of it, all is there and a little at most.
    pub(crate) fn is_body_read(&mut self, wants_no_more: bool, options: &Options) -> bool {
        let Some(serial) = self.upload.as_ref().map(|upload| upload.serial) else { return true };
        let most = if wants_no_more { DISCARDED } else { 0 };
        let mut discarded = Vec::new();
        // The end of what has a length needs no octet to be seen.
        while discarded.len() < most || self.receiver.is_at_end() {
            match self.read_body(serial, DISCARDED, &mut discarded, false, options) {
                Ok(Piece::Octets) => {}
                outcome => return matches!(outcome, Ok(Piece::End)),
            }
        }
        self.upload.as_ref().is_some_and(|upload| upload.ended)
    }

    /// The response is complete, and nobody reads the body any more: what follows `after` it. Of a body that was not read
    /// to its end nothing is ever taken for a request.
    pub(super) fn end_upload(&mut self, after: AfterSending) -> AfterSending {
        let Some(upload) = self.leave_upload() else { return after };
        if let Some(access) = &mut self.access {
            access.received(upload.content);
        }
        match after {
            AfterSending::KeepAlive | AfterSending::Close if !upload.ended => AfterSending::Linger,
            after => after,
        }
    }

    /// Nobody reads the body any more: the input begins with what nobody has understood.
    pub(super) fn leave_upload(&mut self) -> Option<Box<Upload>> {
        let upload = self.upload.take()?;
        self.input.drain(..upload.at);
        self.drained = false;
        Some(upload)
    }
}
