//! What a connection brings: a request that is complete, or why it was refused.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rserve_http1::{Error as HttpError, Head, decimal};

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
    /// The client's address as the load balancer says (PROXY protocol).
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

    /// Whether what came is no request, rather than one that is not wanted: nobody knows what it asked for.
    pub fn is_of_malformed(&self, options: &Options) -> bool {
        matches!(self, Refusal::Head(_)) && !self.is_of_too_large(options)
    }

    /// Whether the answer says that the connection is closed, as it is in any case; `kept` is whether the request wanted
    /// it kept.
    pub fn says_close(&self, options: &Options, kept: bool) -> bool {
        !kept || !self.is_of_too_large(options) || options.compat.says_close_after_too_large()
    }

    fn is_of_too_large(&self, options: &Options) -> bool {
        self.status(options) == 413
    }
}

impl Request {
    /// Whether its method is one that is served (else 501, RFC 9110 §15.6.2).
    pub fn is_supported(&self, options: &Options) -> bool {
        let method = self.head.method.of(&self.octets);
        options.methods.as_ref().is_none_or(|known| known.iter().any(|known| known.as_bytes() == method))
    }

    /// The application reads its body while that comes.
    pub fn is_streamed(&self) -> bool {
        matches!(self.body, Body::Streamed)
    }

    /// Whether another request may follow it on its connection, whose body nobody has to read any more.
    pub fn may_be_followed(&self, options: &Options) -> bool {
        !self.is_streamed() && self.keeps_connection(options)
    }

    /// Whether another request may follow it on its connection, as far as its client and the options have a say.
    pub fn keeps_connection(&self, options: &Options) -> bool {
        self.head.keep_alive
            && options.enable_keep_alives
            && options.queue_requests
            && options.max_keep_alive.is_none_or(|most| self.serial + 1 < most)
    }

    /// When its head was complete, as a proxy would have said it in `X-Request-Start`.
    pub fn start<'a>(&self, text: &'a mut [u8; 32]) -> &'a [u8] {
        stamp(since_1970(self.head_at), text)
    }

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

/// How long a thread relies on a look at the wall clock.
const WALL_CLOCK_HOLDS: Duration = Duration::from_secs(1);

thread_local! {
    /// The same moment by both clocks.
    static WALL_CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// The time since 1970 at `at`, which has passed. That the wall clock was set is seen by what comes a second later.
fn since_1970(at: Instant) -> Duration {
    let holds = |(read, _): &(Instant, Duration)| at.saturating_duration_since(*read) < WALL_CLOCK_HOLDS;
    let (read, wall) = WALL_CLOCK.get().filter(holds).unwrap_or_else(|| {
        let both = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        WALL_CLOCK.set(Some(both));
        both
    });
    // What has waited came before the look.
    match at.checked_duration_since(read) {
        Some(since) => wall + since,
        None => wall.saturating_sub(read.saturating_duration_since(at)),
    }
}

/// `t=1700000000.123`, without the machinery of `format!`: a request's stamp is made for each of them.
fn stamp(time: Duration, text: &mut [u8; 32]) -> &[u8] {
    let mut buffer = [0; 20];
    let millis = time.as_secs().saturating_mul(1000) + u64::from(time.subsec_millis());
    let millis = decimal::digits(millis.max(1000), &mut buffer);
    let (seconds, millis) = millis.split_at(millis.len() - 3);
    let mut len = 0;
    for part in [b"t=", seconds, b".", millis] {
        text[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    &text[..len]
}

#[cfg(test)]
mod tests {
    use rserve_http1::{Limits, Receiver};

    use super::*;
    use crate::config::compat::Compat;

    fn request(octets: &str) -> Request {
        let mut request = Request { octets: octets.into(), ..Request::blank(Instant::now()) };
        let read = Receiver::new(Limits::default()).advance(octets.as_bytes(), &mut request.head);
        assert!(read.is_ok(), "{octets:?}: {read:?}");
        request
    }

    /// How the head of `octets` is refused.
    fn refusal(octets: &str) -> HttpError {
        let limits = Limits { body: Some(1), ..Limits::default() };
        Receiver::new(limits).advance(octets.as_bytes(), &mut Head::default()).expect_err(octets)
    }

    #[test]
    fn a_refusal_knows_whether_it_is_of_a_request() {
        let malformed = || refusal("GET / HTTP/1.1\r\nA : b\r\n\r\n");
        let too_large = || refusal("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n");
        let storage = || Refusal::Storage(io::ErrorKind::StorageFull.into());
        for (refusal, status, of_malformed, says_close) in [
            (Refusal::Head(malformed()), 400, true, [true; 3]),
            (Refusal::Head(too_large()), 413, false, [false, false, true]),
            (Refusal::Body(too_large()), 413, false, [false, false, true]),
            (Refusal::Body(malformed()), 400, false, [true; 3]),
            (storage(), 507, false, [true; 3]),
        ] {
            for (compat, says_close) in
                [Compat::Puma6, Compat::Puma7, Compat::Puma8].into_iter().zip(says_close)
            {
                let options = Options { compat, ..Options::default() };
                assert_eq!(refusal.status(&options), status, "{refusal:?}");
                assert_eq!(refusal.is_of_malformed(&options), of_malformed, "{refusal:?}");
                assert_eq!(refusal.says_close(&options, true), says_close, "{refusal:?} {compat:?}");
                assert!(refusal.says_close(&options, false), "{refusal:?} {compat:?}");
            }
        }
    }

    #[test]
    fn a_method_is_served_that_nobody_has_left_out() {
        let two = || Some(vec!["GET".to_owned(), "PURGE".to_owned()]);
        for (method, methods, want) in [
            ("GET", None, true),
            ("BREW", None, true),
            ("GET", two(), true),
            ("PURGE", two(), true),
            ("POST", two(), false),
            ("GETX", two(), false),
            ("GE", two(), false),
            ("GET", Some(Vec::new()), false),
        ] {
            let options = Options { methods, ..Options::default() };
            let request = request(&format!("{method} / HTTP/1.1\r\n\r\n"));
            assert_eq!(request.is_supported(&options), want, "{method} {:?}", options.methods);
        }
    }

    #[test]
    fn a_stamp_is_in_seconds_with_three_digits_more() {
        for (millis, want) in [
            (1_700_000_000_123, "t=1700000000.123"),
            (1_700_000_000_000, "t=1700000000.000"),
            (10_000_000_000_001, "t=10000000000.001"),
            (u64::MAX, "t=18446744073709551.615"),
            (0, "t=1.000"),
        ] {
            assert_eq!(stamp(Duration::from_millis(millis), &mut [0; 32]), want.as_bytes());
        }
    }

    #[test]
    fn a_moment_is_the_same_by_the_wall_clock() {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for ago in [0, 0, 3600, 0, 1] {
            let ago = Duration::from_secs(ago);
            let before = wall() - ago;
            let told = since_1970(Instant::now() - ago);
            // Two clocks are read one after the other.
            let between = before - Duration::from_secs(1)..wall() + Duration::from_secs(1);
            assert!(between.contains(&told), "{before:?} {told:?}");
        }
    }

    #[test]
    fn a_request_is_followed_when_everybody_agrees() {
        let (kept, closed) = ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n");
        let options = Options::default;
        for (octets, serial, options, want) in [
            (kept, 0, options(), true),
            (kept, 1_000_000, options(), true),
            (closed, 0, options(), false),
            (kept, 0, Options { enable_keep_alives: false, ..options() }, false),
            (kept, 0, Options { queue_requests: false, ..options() }, false),
            (kept, 1, Options { max_keep_alive: Some(3), ..options() }, true),
            (kept, 2, Options { max_keep_alive: Some(3), ..options() }, false),
            (kept, 0, Options { max_keep_alive: Some(1), ..options() }, false),
        ] {
            let request = Request { serial, ..request(octets) };
            assert_eq!(request.may_be_followed(&options), want, "{octets:?} {serial}");
        }
    }
}
