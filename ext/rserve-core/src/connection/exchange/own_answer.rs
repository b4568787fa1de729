//! Answers that no thread of Ruby's gives and that have no body: to who is late, to whom there is no thread for, to whom the
//! application leaves waiting.

use std::io::IoSlice;
use std::time::{SystemTime, UNIX_EPOCH};

use rserve_http1::{ResponseFacts, ResponsePlan, Spelling, TransferEncoding, Version, encode};

use super::{AfterSending, Exchange};
use crate::config::options::Options;
use crate::connection::request::Request;
use crate::net::Peer;
use crate::net::stream::Stream;
use crate::sys::PeerState;
use crate::telemetry::Shed;

/// Seconds after which whom there was no thread for may ask again.
const RETRY_AFTER: &[u8] = b"1";

impl Exchange {
    /// The request is not to be waited for any longer; the client is told.
    pub(crate) fn answer_timeout(&mut self, options: &Options, peer: Peer) {
        self.access = self.access_of(&self.request, peer);
        self.tell_late_request();
        self.note_status(408);
        let spelling = spelling(options);
        let mut reply = Vec::new();
        encode::status_line(&mut reply, Version::Http11, 408);
        field(&mut reply, b"Connection", b"close", spelling);
        end(&mut reply, options);
        self.abandon_request();
        // One that cannot be sent shows when the rest is.
        let _ = self.write_last(&reply, options);
        self.finish(AfterSending::Linger);
    }

    /// The complete request will not be served: 503, if anybody is left to read it. `stays` is whether the server lets
    /// another request follow. Gives why it was not served.
    pub(crate) fn answer_unserved(
        &mut self,
        options: &Options,
        peer: Peer,
        why: Shed,
        stays: bool,
    ) -> (AfterSending, Shed) {
        let request = self.take_request();
        self.access = self.access_of(&request, peer);
        let why = if self.peer_state() == PeerState::Gone { Shed::ClientGone } else { why };
        if let Some(access) = &mut self.access {
            access.shed(why);
        }
        if why == Shed::ClientGone {
            return (AfterSending::Abort, why);
        }
        self.tell_request(&request);
        (self.answer_busy(request, options, stays), why)
    }

    /// There is no thread, or nothing else that is needed, for `request`: 503.
    pub(super) fn answer_busy(
        &mut self,
        mut request: Request,
        options: &Options,
        stays: bool,
    ) -> AfterSending {
        self.note_status(503);
        let refused = request.refusal.is_some();
        let plan = ResponsePlan::of(ResponseFacts {
            version: request.head.version,
            head_request: false,
            status: 503,
            content_length: Some(0),
            transfer_encoding: TransferEncoding::Absent,
            keep_alive: stays && !refused && request.may_be_followed(options),
        });
        let spelling = spelling(options);
        let mut reply = Vec::new();
        encode::status_line(&mut reply, request.head.version, 503);
        field(&mut reply, b"Retry-After", RETRY_AFTER, spelling);
        plan.write_fields(&mut reply, spelling);
        end(&mut reply, options);
        self.recycle(&mut request);
        let sent = match plan.keep_alive {
            true => self.write(&[IoSlice::new(&reply)], options),
            false => self.write_last(&reply, options),
        };
        match sent {
            Err(_) => AfterSending::Abort,
            Ok(()) if plan.keep_alive => AfterSending::KeepAlive,
            // Who was refused may still be sending.
            Ok(()) if refused => AfterSending::Linger,
            Ok(()) => AfterSending::Close,
        }
    }

    /// The application does not answer: 504, and the end. Where it may have written to the socket itself, only the end.
    /// Nothing that it does from now on reaches the client.
    pub(crate) fn answer_for_application(&mut self, options: &Options) -> AfterSending {
        let spelling = spelling(options);
        let mut reply = Vec::new();
        encode::status_line(&mut reply, Version::Http11, 504);
        field(&mut reply, b"Connection", b"close", spelling);
        field(&mut reply, b"Content-Length", b"0", spelling);
        end(&mut reply, options);
        let sent = match self.shared {
            true => {
                self.cut_off();
                false
            }
            false => {
                self.note_status(504);
                self.write_last(&reply, options).is_ok()
            }
        };
        self.given_up = true;
        if sent { AfterSending::Close } else { AfterSending::Abort }
    }

    /// Whether the server has answered in place of the application.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up
    }

    pub(super) fn peer_state(&self) -> PeerState {
        self.stream.as_ref().map_or(PeerState::Gone, Stream::peer_state)
    }
}

pub(super) fn spelling(options: &Options) -> Spelling {
    if options.compat.spells_in_lower_case() { Spelling::Lower } else { Spelling::Title }
}

pub(super) fn field(reply: &mut Vec<u8>, name: &[u8], value: &[u8], spelling: Spelling) {
    let _ = match spelling {
        Spelling::Title => encode::field(reply, name, value),
        Spelling::Lower => encode::field_lower(reply, name, value),
    };
}

/// The date, and the end of the head.
pub(super) fn end(reply: &mut Vec<u8>, options: &Options) {
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH)
        && !options.poses_as_puma
    {
        let mut date = Vec::new();
        rserve_http1::date(&mut date, now.as_secs());
        field(reply, b"Date", &date, spelling(options));
    }
    reply.extend_from_slice(b"\r\n");
}
