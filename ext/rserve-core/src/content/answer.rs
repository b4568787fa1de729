//! How a file is answered with: the status, the fields, and which of its octets.

use std::borrow::Cow;
use std::ops::Range;

use rserve_http1::Head;
use rserve_http1::content::codings::{Acceptance, Coding};
use rserve_http1::content::conditions::{Conditions, Validators, Verdict};
use rserve_http1::content::ranges::{self, Part, Wanted};

/// What a request for content says besides its path.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// Its method is HEAD.
    pub head_request: bool,
    /// Its method is GET.
    get: bool,
    /// Codings that the client takes.
    pub accepted: Acceptance,
    conditions: Conditions<'a>,
    range: Option<&'a [u8]>,
}

/// What of a content goes out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// All: 200.
    Whole,
    /// These octets: 206.
    Parts(Vec<Range<u64>>),
    /// 304
    NotModified,
    /// 412
    Failed,
    /// 416
    Unsatisfiable,
}

impl<'a> Question<'a> {
    /// Of a request with the head `head`, which `octets` are.
    pub fn of(head: &Head, octets: &'a [u8]) -> Self {
        let fields = head.fields.iter().map(|field| (field.name.of(octets), field.value.of(octets)));
        Self::of_fields(head.method.of(octets), fields)
    }

    /// Of a request with this method and these fields.
    pub fn of_fields<'n>(method: &[u8], fields: impl Iterator<Item = (&'n [u8], &'a [u8])>) -> Self {
        let (head_request, get) = (method == b"HEAD", method == b"GET");
        let mut question = Self { head_request, get, ..Self::default() };
        let mut accepted: Vec<&[u8]> = Vec::new();
        // A field that may be there once, and is there twice, says nothing.
        let mut seen = [false; 4];
        for (name, value) in fields {
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            let Question { conditions, range, .. } = &mut question;
            let (at, slot) = match name.len() {
                5 if is(b"range") => (0, range),
                8 if is(b"if-match") => {
                    conditions.if_match.push(value);
                    continue;
                }
                8 if is(b"if-range") => (1, &mut conditions.if_range),
                13 if is(b"if-none-match") => {
                    conditions.if_none_match.push(value);
                    continue;
                }
                15 if is(b"accept-encoding") => {
                    accepted.push(value);
                    continue;
                }
                17 if is(b"if-modified-since") => (2, &mut conditions.if_modified_since),
                19 if is(b"if-unmodified-since") => (3, &mut conditions.if_unmodified_since),
                _ => continue,
            };
            *slot = (!seen[at]).then_some(value);
            seen[at] = true;
        }
        // A range whose condition cannot be understood is not wanted.
        if seen[1] && question.conditions.if_range.is_none() {
            question.range = None;
        }
        question.accepted = Acceptance::of(accepted);
        question
    }

    /// Whether the client has the very octets that `etag` is of.
    pub fn has(&self, etag: &[u8]) -> bool {
        self.conditions.has(etag)
    }

    /// What goes out of a content of `length` octets in the state that `validators` tell, at `now`, in seconds since 1970.
    pub fn select(&self, validators: Validators<'_>, length: u64, now: u64) -> Selection {
        if !self.get && !self.head_request {
            return Selection::Whole;
        }
        match self.conditions.verdict(validators, now) {
            Verdict::NotModified => return Selection::NotModified,
            Verdict::Failed => return Selection::Failed,
            Verdict::Proceed => {}
        }
        let Some(range) = self.range.filter(|_| self.get) else { return Selection::Whole };
        if !self.conditions.let_range(validators, now) {
            return Selection::Whole;
        }
        match ranges::wanted(range, length) {
            Wanted::Whole => Selection::Whole,
            Wanted::Parts(parts) => Selection::Parts(parts),
            Wanted::Unsatisfiable => Selection::Unsatisfiable,
        }
    }
}

/// A content as it lies there.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Octets.
    pub length: u64,
    /// When it was last changed: nanoseconds since 1970.
    pub modified: u64,
    /// Its media type.
    pub media: &'a str,
    /// How it is coded.
    pub coding: Option<Coding>,
    /// Which coding it has depends on the request.
    pub varies: bool,
    /// What has this name never changes.
    pub immutable: bool,
    /// Fields of the operator's.
    pub fields: &'a [(String, String)],
}

/// What goes out, in no version of HTTP yet.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// Fields, without those that frame the content.
    pub fields: Vec<(&'a str, Cow<'a, [u8]>)>,
    /// The content; of a HEAD what a GET would get.
    pub parts: Vec<Part>,
}

impl Answer<'_> {
    /// Octets of the content.
    pub fn length(&self) -> u64 {
        self.parts.iter().map(Part::length).sum()
    }
}

const IMMUTABLE: &[u8] = b"public, max-age=31536000, immutable";

/// The first second of 1981. Earlier times are those of archives and build tools that set all times to the same: they tell
/// nothing.
const TELLING: u64 = 347_155_200;

/// The ETag of a content: strong, and the same on every machine that has the file with its time. `None` where that tells
/// nothing.
pub(super) fn etag(modified: u64, length: u64, coding: Option<Coding>) -> Option<String> {
    let coding = coding.map_or("", Coding::name);
    let dash = if coding.is_empty() { "" } else { "-" };
    is_telling(modified).then(|| format!("\"{modified:x}-{length:x}{dash}{coding}\""))
}

fn is_telling(modified: u64) -> bool {
    modified / 1_000_000_000 >= TELLING
}

/// The time for Last-Modified; none that is in the future (RFC 9110 §8.8.2.1).
pub(super) fn last_modified(modified: u64, now: u64) -> Option<u64> {
    Some(modified / 1_000_000_000).filter(|&seconds| is_telling(modified) && seconds <= now)
}

/// Answers `question` about `content` at `now`, in seconds since 1970; `salt` is a number that nobody can know beforehand.
pub fn answer<'a>(question: &Question<'_>, content: &Content<'a>, now: u64, salt: u64) -> Answer<'a> {
    let etag = etag(content.modified, content.length, content.coding);
    let modified = last_modified(content.modified, now);
    let validators = Validators { etag: etag.as_deref().map(str::as_bytes), modified };
    let selection = question.select(validators, content.length, now);
    let mut fields: Vec<(&str, Cow<'_, [u8]>)> = Vec::with_capacity(8 + content.fields.len());
    let mut media = Cow::Borrowed(content.media.as_bytes());
    let (status, parts) = match selection {
        Selection::Failed => return Answer { status: 412, fields, parts: Vec::new() },
        Selection::Unsatisfiable => {
            let mut range = Vec::new();
            ranges::unsatisfied_range(content.length, &mut range);
            fields.push(("Content-Range", range.into()));
            return Answer { status: 416, fields, parts: Vec::new() };
        }
        Selection::NotModified => (304, Vec::new()),
        Selection::Whole => (200, whole(content.length)),
        Selection::Parts(parts) if parts.len() == 1 => {
            let mut range = Vec::new();
            ranges::content_range(&parts[0], content.length, &mut range);
            fields.push(("Content-Range", range.into()));
            (206, parts.into_iter().map(Part::File).collect())
        }
        Selection::Parts(parts) => {
            let boundary = boundary(salt);
            let parts = ranges::multipart(&parts, Some(&media), content.length, &boundary);
            media = byteranges(&boundary).into();
            (206, parts)
        }
    };
    if status != 304 {
        fields.push(("Content-Type", media));
        fields.extend(content.coding.map(|coding| ("Content-Encoding", coding.name().as_bytes().into())));
    }
    if content.varies {
        fields.push(("Vary", b"Accept-Encoding".into()));
    }
    if content.immutable {
        fields.push(("Cache-Control", IMMUTABLE.into()));
    }
    if let Some(etag) = etag {
        fields.push(("ETag", etag.into_bytes().into()));
    }
    if let Some(modified) = modified {
        fields.push(("Last-Modified", date(modified).into()));
    }
    if status != 304 {
        fields.push(("Accept-Ranges", b"bytes".into()));
    }
    let passes = |name: &str| !(content.immutable && name.eq_ignore_ascii_case("cache-control"));
    let operators = content.fields.iter().filter(|(name, _)| passes(name));
    fields.extend(operators.map(|(name, value)| (name.as_str(), value.as_bytes().into())));
    Answer { status, fields, parts }
}

pub(super) fn whole(length: u64) -> Vec<Part> {
    if length > 0 { vec![Part::File(0..length)] } else { Vec::new() }
}

pub(super) fn date(seconds: u64) -> Vec<u8> {
    let mut date = Vec::with_capacity(29);
    rserve_http1::date(&mut date, seconds);
    date
}

/// Between the parts of a response with several ranges.
pub(super) fn boundary(salt: u64) -> String {
    format!("rserve-{salt:016x}")
}

/// The media type of such a response.
pub(super) fn byteranges(boundary: &str) -> Vec<u8> {
    format!("multipart/byteranges; boundary={boundary}").into_bytes()
}

/// Fields that follow from the file, or frame what is sent: no operator's.
pub(super) const OWN_FIELDS: [&str; 11] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "trailer",
    "transfer-encoding",
];

#[cfg(test)]
mod tests {
    use super::*;
    use rserve_http1::{Limits, Receiver};

    /// Sun, 06 Nov 1994 08:49:37 GMT, and half a second.
    const MODIFIED: u64 = 784_111_777_500_000_000;
    const NOW: u64 = 1_000_000_000;
    const ETAG: &str = "\"ae1b981da166f00-64\"";

    fn content() -> Content<'static> {
        Content {
            length: 100,
            modified: MODIFIED,
            media: "text/css",
            coding: None,
            varies: false,
            immutable: false,
            fields: &[],
        }
    }

    /// Of a request with these field lines.
    fn answered(method: &str, lines: &str, content: &Content<'_>) -> String {
        let octets = format!("{method} / HTTP/1.1\r\n{lines}\r\n");
        let mut head = Head::default();
        Receiver::new(Limits::default()).advance(octets.as_bytes(), &mut head).unwrap();
        let question = Question::of(&head, octets.as_bytes());
        let answer = answer(&question, content, NOW, 0xabc);
        let mut text = answer.status.to_string();
        for (name, value) in &answer.fields {
            text += &format!(" {name}={}", String::from_utf8_lossy(value));
        }
        for part in &answer.parts {
            text += &match part {
                Part::Octets(octets) => format!(" {}", octets.len()),
                Part::File(range) => format!(" {}..{}", range.start, range.end),
            };
        }
        text
    }

    #[test]
    fn a_file_is_answered_with_as_its_request_asks() {
        let whole = "200 Content-Type=text/css ETag=$ Last-Modified=Sun, 06 Nov 1994 08:49:37 GMT Accept-Ranges=bytes 0..100";
        let unmodified = "304 ETag=$ Last-Modified=Sun, 06 Nov 1994 08:49:37 GMT";
        let part = "206 Content-Range=bytes 0-9/100 Content-Type=text/css ETag=$ \
                    Last-Modified=Sun, 06 Nov 1994 08:49:37 GMT Accept-Ranges=bytes 0..10";
        for (method, lines, want) in [
            ("GET", String::new(), whole),
            ("HEAD", String::new(), whole),
            ("GET", format!("If-None-Match: {ETAG}\r\n"), unmodified),
            ("HEAD", format!("If-None-Match: \"x\"\r\nif-none-match: {ETAG}\r\n"), unmodified),
            ("GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), unmodified),
            ("GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".into(), whole),
            ("GET", "If-Modified-Since: a\r\n".repeat(2), whole),
            ("GET", "If-Match: \"x\"\r\n".into(), "412"),
            ("GET", "Range: bytes=0-9\r\n".into(), part),
            ("HEAD", "Range: bytes=0-9\r\n".into(), whole),
            ("GET", format!("Range: bytes=0-9\r\nIf-Range: {ETAG}\r\n"), part),
            ("GET", "Range: bytes=0-9\r\nIf-Range: \"x\"\r\n".into(), whole),
            ("GET", format!("Range: bytes=0-9\r\nIf-Range: {ETAG}\r\nIf-Range: {ETAG}\r\n"), whole),
            ("GET", "Range: bytes=0-9\r\n".repeat(2), whole),
            ("GET", format!("Range: bytes=0-9\r\nIf-None-Match: {ETAG}\r\n"), unmodified),
            ("GET", "Range: bytes=100-\r\n".into(), "416 Content-Range=bytes */100"),
            (
                "GET",
                "Range: bytes=0-9,-1\r\n".into(),
                "206 Content-Type=multipart/byteranges; boundary=rserve-0000000000000abc ETag=$ \
                 Last-Modified=Sun, 06 Nov 1994 08:49:37 GMT Accept-Ranges=bytes 83 0..10 87 99..100 31",
            ),
        ] {
            assert_eq!(answered(method, &lines, &content()), want.replace('$', ETAG), "{method} {lines}");
        }
    }

    #[test]
    fn what_is_known_of_a_file_is_told() {
        let operators =
            [("X-A".to_owned(), "b".to_owned()), ("cache-control".to_owned(), "no-cache".to_owned())];
        let times =
            "ETag=\"ae1b981da166f00-64\" Last-Modified=Sun, 06 Nov 1994 08:49:37 GMT Accept-Ranges=bytes";
        for (content, want) in [
            (
                Content { coding: Some(Coding::Brotli), varies: true, ..content() },
                format!(
                    "200 Content-Type=text/css Content-Encoding=br Vary=Accept-Encoding {} 0..100",
                    times.replace("64\"", "64-br\"")
                ),
            ),
            (
                Content { varies: true, fields: &operators, ..content() },
                format!(
                    "200 Content-Type=text/css Vary=Accept-Encoding {times} X-A=b cache-control=no-cache 0..100"
                ),
            ),
            (
                Content { immutable: true, fields: &operators, ..content() },
                format!(
                    "200 Content-Type=text/css Cache-Control=public, max-age=31536000, immutable {times} X-A=b 0..100"
                ),
            ),
            // A build that sets all times to the same, and a clock that is wrong.
            (
                Content { modified: 0, ..content() },
                "200 Content-Type=text/css Accept-Ranges=bytes 0..100".into(),
            ),
            (
                Content { modified: 315_532_800_000_000_000, ..content() },
                "200 Content-Type=text/css Accept-Ranges=bytes 0..100".into(),
            ),
            (
                Content { modified: 1_000_000_001_000_000_000, ..content() },
                "200 Content-Type=text/css ETag=\"de0b6b3e2feca00-64\" Accept-Ranges=bytes 0..100".into(),
            ),
            (
                Content { length: 0, modified: 0, ..content() },
                "200 Content-Type=text/css Accept-Ranges=bytes".into(),
            ),
        ] {
            assert_eq!(answered("GET", "", &content), want, "{content:?}");
        }
        let with_fields = Content { fields: &operators, ..content() };
        let unmodified = answered("GET", &format!("If-None-Match: {ETAG}\r\n"), &with_fields);
        assert!(unmodified.starts_with("304 ETag=") && unmodified.ends_with(" X-A=b cache-control=no-cache"));
    }
}
