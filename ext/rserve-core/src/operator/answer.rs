//! What is asked at the operator's port, and what is answered there, as HTTP.

use std::time::{Instant, SystemTime};

use rserve_http1::{
    Head, ResponseFacts, ResponseFraming, ResponsePlan, Spelling, TransferEncoding, Version, date, encode,
    status,
};

/// A request, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Its path, as it was sent.
    pub path: &'a [u8],
    /// What follows the `?`, without it.
    pub query: &'a [u8],
    /// The first `Accept`.
    pub accept: &'a [u8],
    /// The first `Authorization`.
    pub authorization: &'a [u8],
}

impl<'a> Request<'a> {
    /// The request that `head` is the head of, which was read from `octets`.
    pub(super) fn of(head: &Head, octets: &'a [u8]) -> Self {
        let field = |name: &[u8]| {
            let found = head.fields.iter().find(|field| field.name.of(octets).eq_ignore_ascii_case(name));
            found.map_or(&b""[..], |field| field.value.of(octets))
        };
        Self {
            method: head.method.of(octets),
            path: head.path.of(octets),
            query: head.query.map_or(&b""[..], |query| query.of(octets)),
            accept: field(b"accept"),
            authorization: field(b"authorization"),
        }
    }

    /// The value of the parameter `name` of the query, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        self.query.split(|octet| *octet == b'&').find_map(|pair| {
            let (key, value) =
                pair.split_at(pair.iter().position(|octet| *octet == b'=').unwrap_or(pair.len()));
            (key == name.as_bytes()).then(|| value.strip_prefix(b"=").unwrap_or(value))
        })
    }
}

/// A response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its content.
    pub content: Vec<u8>,
}

/// What a request is answered with.
pub enum Reply {
    /// This.
    Now(Answer),
    /// What this finds: others are served meanwhile.
    Later(Box<dyn Inquiry>),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}

/// Finds an answer that other processes have to give, without waiting.
pub trait Inquiry: Send {
    /// The answer, once it is known; asked again and again until then.
    fn look(&mut self, now: Instant) -> Option<Answer>;
}

/// What plain words are.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What JSON is.
pub(super) const JSON: &str = "application/json";

impl Answer {
    /// A word or a sentence.
    pub fn text(status: u16, text: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: TEXT, content: text.into() }
    }

    /// 200 with `json`.
    pub fn json(json: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, content_type: JSON, content: json.into() }
    }

    /// Nothing but a status.
    pub fn of_status(status: u16) -> Self {
        Self::text(status, status::reason(status))
    }

    /// Appends the whole response to a request of this `version`.
    pub(super) fn write(&self, out: &mut Vec<u8>, version: Version, head_request: bool, keep_alive: bool) {
        let plan = ResponsePlan::of(ResponseFacts {
            version,
            head_request,
            status: self.status,
            content_length: Some(self.content.len() as u64),
            transfer_encoding: TransferEncoding::Absent,
            keep_alive,
        });
        encode::status_line(out, version, self.status);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        out.extend_from_slice(b"Date: ");
        date(out, now.as_secs());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(self.content_type.as_bytes());
        out.extend_from_slice(b"\r\nCache-Control: no-store\r\n");
        if self.status == 405 {
            out.extend_from_slice(b"Allow: GET, HEAD\r\n");
        }
        plan.write_fields(out, Spelling::Title);
        out.extend_from_slice(b"\r\n");
        if plan.framing != ResponseFraming::None {
            out.extend_from_slice(&self.content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let request = Request { query: b"a=1&backtrace&token=x=y&b=", ..Request::default() };
        for (name, want) in [
            ("a", Some(&b"1"[..])),
            ("backtrace", Some(b"")),
            ("token", Some(b"x=y")),
            ("b", Some(b"")),
            ("c", None),
        ] {
            assert_eq!(request.parameter(name), want, "{name}");
        }
    }

    #[test]
    fn responses() {
        let written = |answer: Answer, version, head_request, keep_alive| {
            let mut out = Vec::new();
            answer.write(&mut out, version, head_request, keep_alive);
            let text = String::from_utf8(out).unwrap();
            text.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("|")
        };
        let fields = "Content-Type: text/plain; charset=utf-8|Cache-Control: no-store";
        for (got, want) in [
            (
                written(Answer::text(200, "ok"), Version::Http11, false, true),
                format!("HTTP/1.1 200 OK|{fields}|Content-Length: 2||ok"),
            ),
            (
                written(Answer::text(503, "booting"), Version::Http11, true, false),
                format!("HTTP/1.1 503 Service Unavailable|{fields}|Connection: close|Content-Length: 7||"),
            ),
            (
                written(Answer::of_status(405), Version::Http10, false, true),
                format!(
                    "HTTP/1.0 405 Method Not Allowed|{fields}|Allow: GET, HEAD|Connection: Keep-Alive|\
                     Content-Length: 18||Method Not Allowed"
                ),
            ),
        ] {
            assert_eq!(got, want);
        }
    }
}
