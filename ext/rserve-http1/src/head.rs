//! The head of a request: request line and fields, as ranges of the octets they came in.

use crate::fields::Meaning;
use crate::framing::Framing;
use crate::grammar::{self, METHOD, PATH, QUERY, TOKEN, UNDERSCORE};
use crate::{Element, Error, Excerpt, Limits, strict};

/// A half-open range of octets in the buffer that a head was parsed from.
///
/// Ranges rather than slices, so that a head can outlive a buffer that moves while it grows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// First octet.
    pub start: u32,
    /// One past the last octet.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        // `Limits::head` keeps every position of a head far below 4 GiB; saturating is harmless if it does not.
        let clamp = |position| u32::try_from(position).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    /// These octets of `octets`, the buffer that the head was parsed from; empty for any other, shorter one.
    #[inline]
    pub fn of(self, octets: &[u8]) -> &[u8] {
        octets.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How many octets.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The protocol version, as far as it changes what we do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0, and every other version than 1.1: Puma's grammar takes `HTTP/` digits `.` digits and answers all
    /// of them as 1.0. Other versions than 1.0 are never kept alive ([`Head::keep_alive`]).
    #[default]
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// One field line of a head.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// A token, in the sender's case.
    pub name: Span,
    /// Without the SP and HTAB around it; may be empty. Of Host, the target's authority if it has one.
    pub value: Span,
    /// Whether the application may see it. False for `Proxy` (it would become `HTTP_PROXY`, which programs
    /// take for configuration) and `Version` (`HTTP_VERSION` is the server's to set), for a name with `_` that a dashed name also maps to, for `Content_Length`,
    /// `Content_Type` and `Transfer_Encoding`, and for the framing fields of a chunked request.
    pub visible: bool,
    /// Whether an earlier visible field has the same CGI name, so that this value is appended to that one's with
    /// `", "` between them.
    pub repeated: bool,
}

/// The head of one request. Reusable: reading the next request clears it and keeps the capacity of `fields`.
///
/// After [`crate::Receiver::advance`] returned an error, the request line's parts are those that had been read:
/// in particular `version` is the one to answer with, [`Version::Http10`] if the request line was unreadable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The method: 1 to 20 of `A-Z 0-9 $ - _ .`.
    pub method: Span,
    /// The request target as sent, without its fragment (`REQUEST_URI`).
    pub target: Span,
    /// The path (`REQUEST_PATH`), not decoded: of origin-form, its path; of absolute-form, the path of the URI, `/`
    /// if it has none; of asterisk-form, `*`; of authority-form, `/`, but the whole target for the method CONNECT.
    pub path: Span,
    /// What follows the `?`, if there is one (`QUERY_STRING`).
    pub query: Option<Span>,
    /// What follows the `#`, if there is one. No client should send it; Puma hands it to the app as `FRAGMENT`.
    pub fragment: Option<Span>,
    /// The version that decides how to answer.
    pub version: Version,
    /// The version as sent, such as `HTTP/1.1` (`SERVER_PROTOCOL`).
    pub protocol: Span,
    /// The field lines in wire order, those that are not [`Field::visible`] included.
    pub fields: Vec<Field>,
    /// Host and perhaps port: the target's in absolute-form and authority-form (RFC 9112 §3.2.2), else that of a
    /// Host field that is not empty. Valid, but not decoded or lower-cased.
    pub host: Option<Span>,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the client and the version allow another request after this one (RFC 9112 §9.3), and the framing
    /// is not of the kind that asks for a close (see [`Limits::strict_framing`]).
    pub keep_alive: bool,
    /// Whether an HTTP/1.1 client waits for `100 Continue`. Also true without a body, as Puma answers it then too.
    pub expects_continue: bool,
    /// Places of fields in the order of their names, only while they are being sorted.
    pub(crate) by_name: Vec<usize>,
}

impl Head {
    /// Whether the client may be sent a `103 Early Hints`: not by HTTP/1.0, whose clients take it for the response (RFC 9110
    /// §15.2). Puma's own tests, in every release, ask by a bare line of 1.0 and want it; no client does that, nor any proxy.
    pub fn takes_interim(&self) -> bool {
        self.version == Version::Http11 || self.host.is_none()
    }

    fn clear(&mut self) {
        let (mut fields, by_name) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.by_name));
        fields.clear();
        *self = Self { fields, by_name, ..Self::default() };
    }
}

/// What is being read. The request line is read octet by octet as it arrives, so that garbage is refused at once
/// and not when its sender chooses to end the line; fields are read a line at a time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Phase {
    #[default]
    BlankLines,
    Method,
    Path,
    Query,
    Fragment,
    Protocol,
    Fields,
}

/// Reads a head from octets that keep growing at the end; remembers where it stopped, so that a head is scanned
/// once however it is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadReader {
    phase: Phase,
    /// First octet of the request line: empty lines before it have been skipped.
    start: usize,
    /// Empty lines skipped so far.
    blank_lines: usize,
    /// First octet of the part of the request line, or of the field line, that is being read.
    part: usize,
    /// Octets before this position need not be looked at again.
    scanned: usize,
    meaning: Meaning,
}

/// How far [`HeadReader::read`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// More octets are needed; this many are blank and can go.
    Partial { blank: usize },
    /// The head is complete and takes this many octets.
    Complete { octets: usize },
}

impl HeadReader {
    /// Reads on in `octets`, which start where they did before unless blank octets were reported, and end later.
    pub(crate) fn read(&mut self, octets: &[u8], head: &mut Head, limits: &Limits) -> Result<Read, Error> {
        if self.phase == Phase::BlankLines {
            head.clear();
            if !self.skip_blank_lines(octets, limits) {
                let blank = std::mem::take(&mut self.start);
                return Ok(Read::Partial { blank });
            }
        }
        if self.phase != Phase::Fields && !self.read_request_line(octets, head, limits)? {
            return Ok(Read::Partial { blank: 0 });
        }
        match self.read_fields(octets, head, limits)? {
            Some(octets) => Ok(Read::Complete { octets }),
            None => Ok(Read::Partial { blank: 0 }),
        }
    }

    /// Returns whether the first octet of a request line is there.
    fn skip_blank_lines(&mut self, octets: &[u8], limits: &Limits) -> bool {
        while self.blank_lines < limits.blank_lines {
            match octets.get(self.start..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {
                    self.start += 2;
                    self.blank_lines += 1;
                }
                [b'\r'] => return false,
                _ => break,
            }
        }
        let begun = octets.len() > self.start;
        if begun {
            (self.phase, self.part, self.scanned) = (Phase::Method, self.start, self.start);
        }
        begun
    }

    /// Returns whether the request line is complete.
    fn read_request_line(&mut self, octets: &[u8], head: &mut Head, limits: &Limits) -> Result<bool, Error> {
        loop {
            let part = octets.get(self.part..).unwrap_or_default();
            let end = match self.phase {
                Phase::Method => match read_method(part, limits)? {
                    Some(length) => self.part + length,
                    None => return Ok(false),
                },
                Phase::Protocol => match read_protocol(part)? {
                    Some(length) => self.part + length,
                    None => return Ok(false),
                },
                _ => match self.read_target_part(octets, head, limits)? {
                    Some(end) => end,
                    None => return Ok(false),
                },
            };
            let span = Span::new(self.part, end);
            let next = match (self.phase, octets[end]) {
                (Phase::Method, _) => {
                    head.method = span;
                    Phase::Path
                }
                (Phase::Protocol, _) => {
                    head.protocol = span;
                    if span.of(octets) == b"HTTP/1.1" {
                        head.version = Version::Http11;
                    }
                    if limits.strict {
                        strict::check_request_line(octets, head)?;
                    }
                    locate_path(octets, head, limits)?;
                    (self.phase, self.part, self.scanned) = (Phase::Fields, end + 2, end + 2);
                    return Ok(true);
                }
                (phase, delimiter) => {
                    match phase {
                        Phase::Query => head.query = Some(span),
                        Phase::Fragment => head.fragment = Some(span),
                        _ => head.path = span,
                    }
                    if phase != Phase::Fragment {
                        let start = if phase == Phase::Path { span.start } else { head.path.start };
                        head.target = Span { start, end: span.end };
                    }
                    match delimiter {
                        b'?' => Phase::Query,
                        b'#' => Phase::Fragment,
                        _ => Phase::Protocol,
                    }
                }
            };
            (self.phase, self.part, self.scanned) = (next, end + 1, end + 1);
        }
    }

    /// The end of the path, query or fragment, once the octet after it is there.
    fn read_target_part(
        &mut self,
        octets: &[u8],
        head: &Head,
        limits: &Limits,
    ) -> Result<Option<usize>, Error> {
        let (class, own_element, own_limit) = match self.phase {
            // Only of the origin-form is it known that all of this is the path.
            Phase::Path if octets.get(self.part) != Some(&b'/') => {
                (PATH, Element::RequestUri, limits.request_uri)
            }
            Phase::Path => (PATH, Element::RequestPath, limits.request_path),
            Phase::Query => (QUERY, Element::QueryString, limits.query_string),
            _ => (QUERY, Element::Fragment, limits.fragment),
        };
        let end = self.scanned + grammar::run(octets.get(self.scanned..).unwrap_or_default(), class);
        self.scanned = end;
        if end - self.part > own_limit {
            return Err(Error::TooLong { element: own_element, limit: own_limit });
        }
        let uri_start = if self.phase == Phase::Path { self.part } else { head.path.start as usize };
        if self.phase != Phase::Fragment && end - uri_start > limits.request_uri {
            return Err(Error::TooLong { element: Element::RequestUri, limit: limits.request_uri });
        }
        let bad = || Excerpt::of(line_from(octets, self.part));
        match (self.phase, octets.get(end)) {
            (_, None) => Ok(None),
            (Phase::Path, Some(b' ' | b'?' | b'#')) if end > self.part => Ok(Some(end)),
            (Phase::Query, Some(b' ' | b'#')) | (Phase::Fragment, Some(b' ')) => Ok(Some(end)),
            (Phase::Path, _) => Err(Error::Path(bad())),
            (Phase::Query, _) => Err(Error::Query(bad())),
            _ => Err(Error::Fragment(bad())),
        }
    }

    /// Reads field lines up to the empty one; returns the length of the head once that is there.
    fn read_fields(
        &mut self,
        octets: &[u8],
        head: &mut Head,
        limits: &Limits,
    ) -> Result<Option<usize>, Error> {
        let allowed = self.start + limits.head;
        let window = &octets[..octets.len().min(allowed)];
        loop {
            let unread = window.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unread) else {
                // The last octet may be the CR of a CRLF; any other control is refused before its line ends.
                let ended = unread.strip_suffix(b"\r").unwrap_or(unread);
                if !grammar::is_field_value(ended) && head.fields.len() < limits.fields {
                    return Err(Error::Field(Excerpt::of(ended)));
                }
                self.scanned += ended.len();
                if octets.len() > allowed {
                    return Err(Error::TooLong { element: Element::Header, limit: limits.head });
                }
                return Ok(None);
            };
            let (start, line_feed) = (self.part, self.scanned + offset);
            let line = match window[start..line_feed] {
                [ref line @ .., b'\r'] => line,
                ref line => return Err(Error::Field(Excerpt::of(line))),
            };
            (self.part, self.scanned) = (line_feed + 1, line_feed + 1);
            if line.is_empty() {
                self.meaning.settle(octets, head, limits)?;
                return Ok(Some(line_feed + 1));
            }
            if head.fields.len() == limits.fields {
                return Err(Error::TooManyFields { limit: limits.fields });
            }
            let field = FieldLine::parse(line, limits)?;
            self.meaning.note(&field, start, octets, head)?;
        }
    }
}

/// What [`read_method`] and [`read_protocol`] look at: everything up to the line's end, for messages.
fn line_from(octets: &[u8], start: usize) -> &[u8] {
    let rest = octets.get(start..).unwrap_or_default();
    let end = rest.iter().position(|octet| matches!(octet, b' ' | b'\r' | b'\n')).unwrap_or(rest.len());
    &rest[..end]
}

/// The length of the method, once the space after it is there.
fn read_method(octets: &[u8], limits: &Limits) -> Result<Option<usize>, Error> {
    // A token that is no method is reported whole, so it is read to its end or one octet beyond the limit.
    let candidate = &octets[..octets.len().min(limits.method + 1)];
    let length = grammar::run(candidate, TOKEN);
    let is_method = candidate[..length].iter().all(|&octet| grammar::is(octet, METHOD));
    match candidate.get(length) {
        Some(b' ') if length > 0 && is_method => Ok(Some(length)),
        Some(b' ') if length > 0 => Err(Error::Method(Excerpt::of(&candidate[..length]))),
        Some(_) => Err(Error::NotHttp),
        None if length > limits.method => Err(Error::Method(Excerpt::of(candidate))),
        None => Ok(None),
    }
}

/// The length of the protocol, once the CRLF after it is there.
fn read_protocol(octets: &[u8]) -> Result<Option<usize>, Error> {
    /// `HTTP/` and more digits than any version will need.
    const LONGEST: usize = 16;
    const NAME: &[u8] = b"HTTP/";
    let bad = || Error::Protocol(Excerpt::of(line_from(octets, 0)));

    if octets.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(8));
    }
    let named = NAME.len().min(octets.len());
    if octets[..named] != NAME[..named] {
        return Err(bad());
    }
    let version = &octets[named..octets.len().min(LONGEST)];
    let digits = |octets: &[u8]| octets.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let major = digits(version);
    let minor = match version.get(major) {
        None if octets.len() < LONGEST => return Ok(None),
        Some(b'.') if major > 0 => digits(&version[major + 1..]),
        _ => return Err(bad()),
    };
    let end = named + major + 1 + minor;
    match octets.get(end..).unwrap_or_default() {
        [] | [b'\r'] if end < LONGEST && (minor > 0 || octets.len() == end) => Ok(None),
        [b'\r', b'\n', ..] if end < LONGEST && minor > 0 => Ok(Some(end)),
        _ => Err(bad()),
    }
}

/// Finds path and host in a target that is not in origin-form (RFC 9112 §3.2), whose octets are legal.
fn locate_path(octets: &[u8], head: &mut Head, limits: &Limits) -> Result<(), Error> {
    let whole = head.path;
    let target = whole.of(octets);
    if target[0] == b'/' || target == b"*" {
        return Ok(());
    }
    let at = |offset: usize| whole.start as usize + offset;
    let scheme = target.iter().position(|&octet| octet == b':').filter(|&end| is_scheme(&target[..end]));
    let authority = scheme.filter(|&end| target[end + 1..].starts_with(b"//")).map(|end| end + 3);
    if let Some(start) = authority {
        let length = target[start..].iter().position(|&octet| octet == b'/').unwrap_or(target.len() - start);
        let end = start + length;
        if !grammar::is_authority(&target[start..end]) {
            return Err(Error::Path(Excerpt::of(target)));
        }
        head.host = Some(Span::new(at(start), at(end)));
        // An absolute URI without a path means "/" (RFC 9110 §4.2.3); the one before the host will do.
        head.path = if end < target.len() {
            Span::new(at(end), at(target.len()))
        } else {
            Span::new(at(start - 1), at(start))
        };
        if head.path.len() > limits.request_path {
            return Err(Error::TooLong { element: Element::RequestPath, limit: limits.request_path });
        }
        return Ok(());
    }
    // Authority-form is for CONNECT, but Puma calls the app with it whatever the method is.
    let has_port = target.last().is_some_and(u8::is_ascii_digit) && target.contains(&b':');
    if !has_port || head.query.is_some() || !grammar::is_authority(target) {
        return Err(Error::Path(Excerpt::of(target)));
    }
    head.host = Some(whole);
    if head.method.of(octets) != b"CONNECT" {
        // The "/" of "HTTP/1.1": the target has none.
        head.path = Span { start: head.protocol.start + 4, end: head.protocol.start + 5 };
    }
    Ok(())
}

/// `scheme` of RFC 3986 §3.1.
fn is_scheme(octets: &[u8]) -> bool {
    octets.first().is_some_and(u8::is_ascii_alphabetic)
        && octets.iter().all(|&octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
}

/// A field line: offsets within the line it was parsed from.
pub(crate) struct FieldLine<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where the value starts within the line.
    pub(crate) value_offset: usize,
    pub(crate) has_underscore: bool,
}

impl<'a> FieldLine<'a> {
    /// Parses a line that is not empty and whose CRLF is removed (RFC 9112 §5). No folding, no space before the
    /// colon, no control octets: whoever reads those differently could be made to see other fields than we do.
    pub(crate) fn parse(line: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let bad = || Error::Field(Excerpt::of(line));
        let mut classes = 0;
        let colon = line
            .iter()
            .position(|&octet| {
                let class = grammar::CLASS[usize::from(octet)];
                classes |= class;
                class & TOKEN == 0
            })
            .filter(|&colon| colon > 0 && line[colon] == b':')
            .ok_or_else(bad)?;
        let (name, rest) = (&line[..colon], &line[colon + 1..]);
        if !grammar::is_field_value(rest) {
            return Err(bad());
        }
        let value = grammar::trim(rest);
        for (octets, element, limit) in
            [(name, Element::FieldName, limits.field_name), (value, Element::FieldValue, limits.field_value)]
        {
            if octets.len() > limit {
                return Err(Error::TooLong { element, limit });
            }
        }
        let value_offset = value.as_ptr().addr() - line.as_ptr().addr();
        Ok(Self { name, value, value_offset, has_underscore: classes & UNDERSCORE != 0 })
    }
}
