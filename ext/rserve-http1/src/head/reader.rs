//! Reads the head of a request while it arrives.

use super::strict;
use crate::grammar::{self, METHOD, PATH, QUERY, TOKEN};
use crate::head::field_line::FieldLine;
use crate::head::field_section::{self, Outcome};
use crate::head::fields::Meaning;
use crate::head::{Head, Span};
use crate::version::Version;
use crate::{Element, Error, Excerpt, Limits};

/// What is being read. The request line is read octet by octet as it arrives, so that garbage is refused at once
/// and not when its sender chooses to end the line; fields are read a line at a time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Section {
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
    section: Section,
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
        if self.section == Section::BlankLines {
            head.clear();
            if !self.skip_blank_lines(octets, limits) {
                let blank = std::mem::take(&mut self.start);
                return Ok(Read::Partial { blank });
            }
        }
        if self.section != Section::Fields && !self.read_request_line(octets, head, limits)? {
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
            (self.section, self.part, self.scanned) = (Section::Method, self.start, self.start);
        }
        begun
    }

    /// Returns whether the request line is complete.
    fn read_request_line(&mut self, octets: &[u8], head: &mut Head, limits: &Limits) -> Result<bool, Error> {
        loop {
            let part = octets.get(self.part..).unwrap_or_default();
            let end = match self.section {
                Section::Method => match read_method(part, limits)? {
                    Some(length) => self.part + length,
                    None => return Ok(false),
                },
                Section::Protocol => match read_protocol(part)? {
                    Some(length) => self.part + length,
                    None => return Ok(false),
                },
                _ => match self.read_target_part(octets, head, limits)? {
                    Some(end) => end,
                    None => return Ok(false),
                },
            };
            let span = Span::new(self.part, end);
            let next = match (self.section, octets[end]) {
                (Section::Method, _) => {
                    head.method = span;
                    Section::Path
                }
                (Section::Protocol, _) => {
                    head.protocol = span;
                    if span.of(octets) == b"HTTP/1.1" {
                        head.version = Version::Http11;
                    }
                    if limits.strict {
                        strict::check_request_line(octets, head)?;
                    }
                    locate_path(octets, head, limits)?;
                    (self.section, self.part, self.scanned) = (Section::Fields, end + 2, end + 2);
                    return Ok(true);
                }
                (section, delimiter) => {
                    match section {
                        Section::Query => head.query = Some(span),
                        Section::Fragment => head.fragment = Some(span),
                        _ => head.path = span,
                    }
                    if section != Section::Fragment {
                        let start = if section == Section::Path { span.start } else { head.path.start };
                        head.target = Span { start, end: span.end };
                    }
                    match delimiter {
                        b'?' => Section::Query,
                        b'#' => Section::Fragment,
                        _ => Section::Protocol,
                    }
                }
            };
            (self.section, self.part, self.scanned) = (next, end + 1, end + 1);
        }
    }

    /// The end of the path, query or fragment, once the octet after it is there.
    fn read_target_part(
        &mut self,
        octets: &[u8],
        head: &Head,
        limits: &Limits,
    ) -> Result<Option<usize>, Error> {
        let (class, own_element, own_limit) = match self.section {
            // Only of the origin-form is it known that all of this is the path.
            Section::Path if octets.get(self.part) != Some(&b'/') => {
                (PATH, Element::RequestUri, limits.request_uri)
            }
            Section::Path => (PATH, Element::RequestPath, limits.request_path),
            Section::Query => (QUERY, Element::QueryString, limits.query_string),
            _ => (QUERY, Element::Fragment, limits.fragment),
        };
        let end = self.scanned + grammar::run(octets.get(self.scanned..).unwrap_or_default(), class);
        self.scanned = end;
        if end - self.part > own_limit {
            return Err(Error::TooLong { element: own_element, limit: own_limit });
        }
        let uri_start = if self.section == Section::Path { self.part } else { head.path.start as usize };
        if self.section != Section::Fragment && end - uri_start > limits.request_uri {
            return Err(Error::TooLong { element: Element::RequestUri, limit: limits.request_uri });
        }
        let bad = || Excerpt::of(line_from(octets, self.part));
        match (self.section, octets.get(end)) {
            (_, None) => Ok(None),
            (Section::Path, Some(b' ' | b'?' | b'#')) if end > self.part => Ok(Some(end)),
            (Section::Query, Some(b' ' | b'#')) | (Section::Fragment, Some(b' ')) => Ok(Some(end)),
            (Section::Path, _) => Err(Error::Path(bad())),
            (Section::Query, _) => Err(Error::Query(bad())),
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
        if field_section::is_complete(window, self.scanned) {
            let read = field_section::read(window, self.part, |field, line| {
                if head.fields.len() == limits.fields {
                    return Err(Error::TooManyFields { limit: limits.fields });
                }
                field.check_lengths(limits)?;
                self.meaning.note(field, line.start, octets, head)
            })?;
            match read {
                Outcome::Complete(end) => {
                    self.meaning.settle(octets, head, limits)?;
                    return Ok(Some(end));
                }
                Outcome::Unread(line) => (self.part, self.scanned) = (line, line.max(self.scanned)),
            }
        }
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
