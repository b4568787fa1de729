//! Whether anybody still waits for the answer to a request that has waited for its turn.
//!
//! A client that closes its socket and one that only closes its half of the connection send the same: FIN. They
//! are told apart by what becomes of octets that are sent to them: the kernel of the first one answers with a reset. So
//! they are sent an interim response, which every client of HTTP/1.1 must be able to read (RFC 9110 §15.2). Where the
//! socket itself tells, as a reset and a unix socket do, nothing is sent.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use rserve_http1::{Version, encode};

use super::{Activity, Exchange};
use crate::config::options::Options;
use crate::sys::PeerState;

/// A request that has waited for less is not worth the question.
const UNASKED: Duration = Duration::from_millis(50);

/// Whether anybody waits for the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audience {
    /// Somebody, or nobody knows.
    Waits,
    /// Somebody was asked, and the answer may still be on its way.
    Asked,
    /// Nobody.
    Gone,
}

impl Exchange {
    /// Whether the client of a request that is being served is gone for certain. Who reads a body while it comes learns it
    /// from that.
    pub(crate) fn is_client_gone(&self) -> bool {
        let reads = self.upload.as_ref().is_some_and(|upload| !upload.is_read());
        self.activity == Activity::Ready
            && !reads
            && (self.lost.is_some() || self.peer_state() == PeerState::Gone)
    }

    /// Whether somebody waits for the answer to the complete request.
    #[inline(always)] // for each request, of threads and of fibers
    pub(crate) fn audience(&mut self, options: &Options, now: Instant) -> Audience {
        if self.is_stream() {
            // Its client says so, and need not be asked.
            let gone = self.activity == Activity::Ready && self.peer_state() == PeerState::Gone;
            return if gone { Audience::Gone } else { Audience::Waits };
        }
        let waited = now.saturating_duration_since(self.request.ready_at);
        if waited < UNASKED || self.activity != Activity::Ready || self.request.refusal.is_some() {
            return Audience::Waits;
        }
        match self.peer_state() {
            PeerState::Open => Audience::Waits,
            PeerState::Gone => Audience::Gone,
            // Octets of an earlier response are on their way: they ask as well.
            PeerState::HalfClosed if self.asked || !self.outgoing.is_empty() => Audience::Waits,
            PeerState::HalfClosed if self.request.head.version != Version::Http11 => Audience::Waits,
            PeerState::HalfClosed => {
                self.asked = true;
                let sent = self.write(&[IoSlice::new(encode::CONTINUE)], options);
                // On the same machine the answer is there already.
                match sent.is_err() || self.peer_state() == PeerState::Gone {
                    true => Audience::Gone,
                    false => Audience::Asked,
                }
            }
        }
    }
}
