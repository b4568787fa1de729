//! The access log: one event for each request, at the end of its response, whatever became of it.

use std::io::IoSlice;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rserve_http1::Span;
use tracing::Level;
use tracing::field::display;

use super::request::Request;
use crate::observe::line::Octets;
use crate::observe::log::ACCESS;
use crate::telemetry::Shed;

/// What the access log tells of one request. Dropping it writes the line, so that there is exactly one: without a status
/// when there was no response, `complete` when all of the response has gone to the client's system.
#[derive(Debug)]
pub struct Access {
    octets: Vec<u8>,
    method: Span,
    path: Span,
    query: Option<Span>,
    protocol: Span,
    host: Option<Span>,
    user_agent: Option<Span>,
    request_id: Option<Span>,
    scheme: &'static str,
    client: IpAddr,
    began: Instant,
    queued: Duration,
    received: u64,
    sent: u64,
    status: Option<u16>,
    shed: Option<Shed>,
    complete: bool,
}

/// Whether there is an access log.
pub fn is_wanted() -> bool {
    tracing::event_enabled!(target: ACCESS, Level::INFO)
}

impl Access {
    /// Begins with `request`, which a thread takes at `now`.
    pub fn new(request: &Request, client: IpAddr, tls: bool, now: Instant) -> Self {
        let (octets, head) = (request.octets.as_slice(), &request.head);
        let field = |wanted: &[u8]| {
            let mut fields = head.fields.iter();
            fields.find(|field| field.name.of(octets).eq_ignore_ascii_case(wanted)).map(|field| field.value)
        };
        Self {
            method: head.method,
            path: head.path,
            query: head.query,
            protocol: head.protocol,
            host: head.host,
            user_agent: field(b"user-agent"),
            request_id: field(b"x-request-id"),
            scheme: if tls { "https" } else { "http" },
            octets: octets.to_vec(),
            client,
            began: request.head_at,
            queued: now.saturating_duration_since(request.ready_at),
            received: request.body.len(),
            sent: 0,
            status: None,
            shed: None,
            complete: false,
        }
    }

    /// The response has this status.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// No thread began the request.
    pub(crate) fn shed(&mut self, why: Shed) {
        self.shed = Some(why);
    }

    /// This part of the response is on its way.
    pub fn add(&mut self, part: &[IoSlice<'_>]) {
        self.sent += part.iter().map(|slice| slice.len() as u64).sum::<u64>();
    }

    /// So many octets of a file are on their way.
    pub fn add_file(&mut self, octets: u64) {
        self.sent += octets;
    }

    /// Ends it: all of the response is out.
    pub fn complete(mut self) {
        self.complete = true;
    }

    fn tell(&self, now: Instant) {
        let text = |span: Span| display(Octets(span.of(&self.octets)));
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        tracing::info!(
            target: ACCESS,
            request_id = self.request_id.map(text),
            method = text(self.method),
            host = self.host.map(text),
            path = text(self.path),
            query = self.query.map(text),
            status = self.status,
            complete = self.complete,
            duration_ms = millis(now.saturating_duration_since(self.began)),
            queue_ms = millis(self.queued),
            shed = self.shed.map(Shed::label),
            req_bytes = self.received,
            resp_bytes = self.sent,
            client_addr = %self.client,
            proto = text(self.protocol),
            scheme = self.scheme,
            user_agent = self.user_agent.map(text),
            "request"
        );
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.tell(Instant::now());
    }
}
