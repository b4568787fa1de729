//! What a connection brings: a request that is complete, or why it was refused.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use rserve_http1::{Error as HttpError, Head};

use super::body::Body;
use crate::config::options::Options;

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

impl Request {
    pub(super) fn blank(now: Instant) -> Self {
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
