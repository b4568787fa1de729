//! Heads and chunks of responses, appended to a buffer.
//!
//! Everything here only ever appends, allocates nothing beyond what the buffer needs to grow, and lets no octet
//! pass that would end a line early: what the application says cannot become another header or another response.

use crate::decimal::decimal;
use crate::grammar;
use crate::response::status::reason;
use crate::version::Version;

/// Appends `HTTP/1.1 200 OK` and CRLF.
///
/// `status` has three digits ([`crate::response::status::is_legal`]); the reason phrase is that of [`reason`].
pub fn status_line(out: &mut Vec<u8>, version: Version, status: u16) {
    match (version, status) {
        (Version::Http11, 200) => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        _ => {
            out.extend_from_slice(match version {
                Version::Http11 => &b"HTTP/1.1 "[..],
                Version::Http10 => b"HTTP/1.0 ",
                Version::Http2 => b"HTTP/2 ",
            });
            decimal(out, u64::from(status));
            out.push(b' ');
            out.extend_from_slice(reason(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// What became of a field that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// At least one line was appended.
    Written,
    /// Nothing was: the name, or every line of the value, is illegal.
    Dropped,
}

/// Appends `name: value` and CRLF, with the name as it is.
///
/// A value with line feeds becomes one line for each part that is not empty (Rack 2 sends several cookies that
/// way). A part with another control octet, CR and NUL included, is dropped, and so is a field whose name is not a
/// token: silently, as Puma does. An empty value gives `name: `.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Written {
    write_field(out, name, value, |out, name| out.extend_from_slice(name))
}

/// As [`field`], with the name in lower case: Puma from level 7 on.
pub fn field_lower(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Written {
    write_field(out, name, value, |out, name| out.extend(name.iter().map(u8::to_ascii_lowercase)))
}

fn write_field(
    out: &mut Vec<u8>,
    name: &[u8],
    value: &[u8],
    write_name: impl Fn(&mut Vec<u8>, &[u8]),
) -> Written {
    if !is_legal_name(name) {
        return Written::Dropped;
    }
    let mut line = |value: &[u8]| {
        out.reserve(name.len() + value.len() + 4);
        write_name(out, name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    if is_legal_value(value) {
        line(value);
        return Written::Written;
    }
    let mut written = Written::Dropped;
    for part in value.split(|&octet| octet == b'\n') {
        if !part.is_empty() && is_legal_value(part) {
            line(part);
            written = Written::Written;
        }
    }
    written
}

/// Whether `name` is a token (RFC 9110 §5.1). Puma's rule, but for DEL and octets from 0x80, which it lets pass.
pub fn is_legal_name(name: &[u8]) -> bool {
    grammar::is_token(name)
}

/// Whether `value` has no control octets but HTAB (RFC 9110 §5.5). May be empty.
pub fn is_legal_value(value: &[u8]) -> bool {
    grammar::is_field_value(value)
}

/// What the server must do with a field of the application's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Content-Length`: not written in place, but decides the framing, see [`content_length`].
    ContentLength,
    /// `Transfer-Encoding`: written, and the app is taken to have encoded its body itself.
    TransferEncoding,
    /// `Connection`.
    Connection,
    /// `Date`.
    Date,
    /// `rack.hijack`: its value is a callable.
    Hijack,
    /// `X-Sendfile`: the name of a file to be sent, if the operator lets the application say so.
    Sendfile,
    /// `Status` and other `rack.` names: for the server only, never written.
    Reserved,
    /// Written with [`field`].
    Other,
}

/// Sorts the field `name` of a response, in any case.
pub fn kind(name: &[u8]) -> Kind {
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"date") => Kind::Date,
        6 if name.eq_ignore_ascii_case(b"status") => Kind::Reserved,
        10 if name.eq_ignore_ascii_case(b"connection") => Kind::Connection,
        10 if name.eq_ignore_ascii_case(b"x-sendfile") => Kind::Sendfile,
        11 if name.eq_ignore_ascii_case(b"rack.hijack") => Kind::Hijack,
        14 if name.eq_ignore_ascii_case(b"content-length") => Kind::ContentLength,
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Kind::TransferEncoding,
        5.. if name[..5].eq_ignore_ascii_case(b"rack.") => Kind::Reserved,
        _ => Kind::Other,
    }
}

/// The number that an application's Content-Length starts with, as Ruby's `to_i` reads it: `12abc` is 12.
///
/// `None` for a value without one (then the body decides, where Puma would announce 0), for an illegal value and
/// for a number that does not fit.
pub fn content_length(value: &[u8]) -> Option<u64> {
    let digits = grammar::trim(value);
    let end = digits.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(digits.len());
    grammar::decimal(&digits[..end]).filter(|_| is_legal_value(value))
}

/// What follows the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The chunk that ends a body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends what precedes `len` octets of chunk data; [`CHUNK_END`] follows them.
///
/// `len` is not 0: that would be [`LAST_CHUNK`], so an empty part is not written at all.
pub fn chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk would end the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[len >> (digit * 4) & 15]));
    out.extend_from_slice(b"\r\n");
}

/// The answer to [`crate::Head::expects_continue`].
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes one `103 Early Hints` response, always as HTTP/1.1 like Puma.
///
/// ```
/// let mut out = Vec::new();
/// let mut hints = rserve_http1::encode::EarlyHints::new(&mut out);
/// hints.field(b"Link", b"</a.css>; rel=preload");
/// assert!(hints.finish());
/// assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
/// ```
#[derive(Debug)]
pub struct EarlyHints<'a> {
    out: &'a mut Vec<u8>,
    /// Length of `out` before this response.
    start: usize,
    written: Written,
}

impl<'a> EarlyHints<'a> {
    /// Starts a response at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        status_line(out, Version::Http11, 103);
        Self { out, start, written: Written::Dropped }
    }

    /// Adds a field by the rules of [`field`]; reserved names and framing fields are dropped.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        let legal = matches!(kind(name), Kind::Other | Kind::Date | Kind::Sendfile);
        if legal && field(self.out, name, value) == Written::Written {
            self.written = Written::Written;
        }
    }

    /// Ends the response. If no field was legal it is taken back, and false returned.
    pub fn finish(self) -> bool {
        match self.written {
            Written::Written => self.out.extend_from_slice(b"\r\n"),
            Written::Dropped => self.out.truncate(self.start),
        }
        self.written == Written::Written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn status_lines() {
        for (version, status, want) in [
            (Version::Http11, 200, "HTTP/1.1 200 OK\r\n"),
            (Version::Http10, 200, "HTTP/1.0 200 OK\r\n"),
            (Version::Http11, 413, "HTTP/1.1 413 Content Too Large\r\n"),
            (Version::Http11, 422, "HTTP/1.1 422 Unprocessable Content\r\n"),
            (Version::Http10, 449, "HTTP/1.0 449 CUSTOM\r\n"),
            (Version::Http11, 418, "HTTP/1.1 418 CUSTOM\r\n"),
        ] {
            assert_eq!(written(|out| status_line(out, version, status)), want);
        }
    }

    #[test]
    fn fields_never_end_a_line_early() {
        for (name, value, want) in [
            ("X-Header", "a b", "X-Header: a b\r\n"),
            ("X-Empty-Header", "", "X-Empty-Header: \r\n"),
            ("x", "tab\tand \u{e9}", "x: tab\tand \u{e9}\r\n"),
            ("Set-Cookie", "a=1\nb=2", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
            ("Set-Cookie", "a=1\n\nb=2\n", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
            ("x", "\n", ""),
            ("x", "a\rCookie: b", ""),
            ("x", "a\r\nCookie: b", "x: Cookie: b\r\n"),
            ("x", "a\0\nb\x1f", ""),
            ("x", "a\x7f", ""),
            ("", "a", ""),
            ("a b", "c", ""),
            ("a:", "c", ""),
            ("a\r\nb", "c", ""),
            ("\"F\0o%(@o}", "Boo", ""),
            ("\u{e9}", "a", ""),
        ] {
            let mut outcome = Written::Dropped;
            let line = written(|out| outcome = field(out, name.as_bytes(), value.as_bytes()));
            assert_eq!(line, want, "{name:?}: {value:?}");
            assert_eq!(outcome == Written::Written, !want.is_empty(), "{name:?}: {value:?}");
        }
    }

    #[test]
    fn level_7_writes_names_in_lower_case() {
        assert_eq!(
            written(|out| assert_eq!(field_lower(out, b"X-Aa", b"Bb"), Written::Written)),
            "x-aa: Bb\r\n"
        );
    }

    #[test]
    fn chunks_round_trip_through_ruby_like_hex() {
        for len in [1, 9, 10, 15, 16, 255, 256, 4095, 4096, 65_535, 1_048_576, usize::MAX] {
            assert_eq!(written(|out| chunk_head(out, len)), format!("{len:x}\r\n"));
        }
    }

    #[test]
    fn an_apps_content_length_is_read_as_ruby_reads_it() {
        for (value, want) in [
            ("500", Some(500)),
            (" 12 ", Some(12)),
            ("12abc", Some(12)),
            ("abc", None),
            ("", None),
            ("-5", None),
            ("5\r\n6", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(content_length(value.as_bytes()), want, "{value:?}");
        }
    }

    #[test]
    fn kinds_ignore_case_and_nothing_else() {
        for (name, want) in [
            ("CONTENT-length", Kind::ContentLength),
            ("Transfer-Encoding", Kind::TransferEncoding),
            ("connection", Kind::Connection),
            ("DATE", Kind::Date),
            ("rack.hijack", Kind::Hijack),
            ("x-SENDFILE", Kind::Sendfile),
            ("rack.command", Kind::Reserved),
            ("Status", Kind::Reserved),
            ("Teapot-Status", Kind::Other),
            ("Racket", Kind::Other),
            ("rack", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(kind(name.as_bytes()), want, "{name:?}");
        }
    }

    #[test]
    fn early_hints_without_a_legal_field_are_not_sent() {
        let mut out = b"before".to_vec();
        let mut hints = EarlyHints::new(&mut out);
        hints.field(b"bad name", b"a");
        hints.field(b"X", b"a\0");
        hints.field(b"Content-Length", b"5");
        assert!(!hints.finish());
        assert_eq!(out, b"before");
    }
}
