//! The access log: one event for each request, at the end of its response, whatever became of it.

use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rserve_http1::Span;
use tracing::Level;
use tracing::field::display;

use super::request::Request;
use crate::observe::line::Octets;
use crate::observe::log::ACCESS;
use crate::telemetry::{Shed, Spent};

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
    spent: Option<Spent>,
    complete: bool,
}

/// Of 2³² responses that went well, so many have a line.
static SAMPLE: AtomicU64 = AtomicU64::new(ALL);
const ALL: u64 = 1 << 32;

/// Responses that went well and of which not all have a line.
static WENT_WELL: AtomicU64 = AtomicU64::new(0);

/// Of the responses that went well only this `share` has a line from here on, from 0 to 1.
pub fn set_sample(share: f64) {
    SAMPLE.store((share.clamp(0.0, 1.0) * ALL as f64) as u64, Ordering::Relaxed);
}

/// Whether the response of this number is one of `sample` in 2³², whatever pattern requests have (`splitmix64`).
fn is_sampled(number: u64, sample: u64) -> bool {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
        mixed = (mixed ^ (mixed >> shift)).wrapping_mul(factor);
    }
    (mixed ^ (mixed >> 31)) >> 32 < sample
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
            spent: None,
            complete: false,
        }
    }

    /// The application has read so much of a body that was not there when the request began.
    pub fn received(&mut self, octets: u64) {
        self.received = octets;
    }

    /// The response has this status.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Its thread has spent its time like this.
    pub(crate) fn spent(&mut self, spent: Spent) {
        self.spent = Some(spent);
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

    fn went_well(&self) -> bool {
        self.complete && self.status.is_some_and(|status| status < 400)
    }

    fn is_told(&self) -> bool {
        let sample = SAMPLE.load(Ordering::Relaxed);
        sample == ALL || !self.went_well() || is_sampled(WENT_WELL.fetch_add(1, Ordering::Relaxed), sample)
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
            gvl_wait_ms = self.spent.map(|spent| spent.gvl as f64 / 1e6),
            io_wait_ms = self.spent.map(|spent| spent.io as f64 / 1e6),
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
        if self.is_told() {
            self.tell(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_responses_is_told_whatever_their_order() {
        for (share, least, most) in [(0.0, 0, 0), (0.1, 800, 1200), (0.5, 4600, 5400), (1.0, 10_000, 10_000)]
        {
            let sample = (share * ALL as f64) as u64;
            let told: Vec<_> = (0..10_000).filter(|number| is_sampled(*number, sample)).collect();
            assert!((least..=most).contains(&told.len()), "{share}: {}", told.len());
            let even = told.iter().filter(|number| number.is_multiple_of(2)).count();
            assert!(even * 10 >= told.len() * 4 && even * 10 <= told.len() * 6, "{share}: {even} are even");
        }
    }
}
