//! What can be wrong with a request, and the status each fault is answered with.

use std::fmt;

/// A request that cannot be read. Always fatal to the connection: after it nobody knows where the next request
/// starts, so it is answered once, with `Connection: close`, and nothing that follows is read as a request.
///
/// The texts are Puma's where Puma has one for the case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first octets cannot start an HTTP request; most often a TLS hello on a plain port.
    #[error("{}", Error::NOT_HTTP)]
    NotHttp,
    /// Not `A-Z 0-9 $ - _ .`, or longer than [`crate::Limits::method`].
    #[error("Invalid HTTP format, parsing fails. Bad method {0}")]
    Method(Excerpt),
    /// An illegal octet in the path, or a target in none of the four forms of RFC 9112 §3.2.
    #[error("Invalid HTTP format, parsing fails. Bad path {0}")]
    Path(Excerpt),
    /// An illegal octet in the query.
    #[error("Invalid HTTP format, parsing fails. Bad query {0}")]
    Query(Excerpt),
    /// An illegal octet in the fragment.
    #[error("Invalid HTTP format, parsing fails. Bad fragment {0}")]
    Fragment(Excerpt),
    /// Not `HTTP/` digits `.` digits, or the request line does not end in CRLF right after it.
    #[error("Invalid HTTP format, parsing fails. Bad protocol {0}")]
    Protocol(Excerpt),
    /// A field line without a name directly followed by a colon, folded, with a control octet in its value, or
    /// not ended by CRLF.
    #[error("Invalid HTTP format, parsing fails. Bad headers\n{0}")]
    Field(Excerpt),
    /// A version whose major number is not 1, and [`crate::Limits::strict`] (505, RFC 9110 §15.6.6).
    #[error("Unsupported HTTP version: {0}")]
    Version(Excerpt),
    /// Content in a TRACE request, and [`crate::Limits::strict`] (RFC 9110 §9.3.8).
    #[error("Content in a TRACE request")]
    TraceContent,
    /// One of Puma's elements is longer than allowed: 414 for a part of the target, 431 for fields.
    #[error("HTTP element {} is longer than the {} allowed length (was {})", .element.name(), .element.allowed(*.limit), .limit + 1)]
    TooLong {
        /// What is too long.
        element: Element,
        /// Octets it may have. Reading stops at the first one beyond, which is what the text reports.
        limit: usize,
    },
    /// More field lines than [`crate::Limits::fields`].
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// Field lines allowed.
        limit: usize,
    },
    /// More than one Host, or one that is not `uri-host [":" port]`.
    #[error("Invalid Host: {0}")]
    Host(Excerpt),
    /// No Host on HTTP/1.1 and [`crate::Limits::strict_host`].
    #[error("Missing Host")]
    MissingHost,
    /// Not `1*DIGIT`, does not fit, or more than one field.
    #[error("Invalid Content-Length: \"{0}\"")]
    ContentLength(Excerpt),
    /// Content-Length beside Transfer-Encoding, and [`crate::Limits::strict_framing`].
    #[error("Invalid Content-Length, together with Transfer-Encoding")]
    LengthAndCoding,
    /// A Transfer-Encoding that does not say where the body ends: not `chunked` in the last place and nowhere else.
    #[error("Invalid Transfer-Encoding, {0}")]
    TransferEncoding(&'static str),
    /// A transfer coding that is not implemented (501, RFC 9112 §6.1).
    #[error("Invalid Transfer-Encoding, unknown value: '{0}'")]
    UnknownCoding(Excerpt),
    /// A chunk size that is not `1*HEXDIG`, does not fit, or is followed by something other than an extension or CRLF.
    #[error("Invalid chunk size: '{0}'")]
    ChunkSize(Excerpt),
    /// Chunk data not followed by CRLF.
    #[error("Chunk size mismatch")]
    ChunkEnd,
    /// A malformed chunk extension.
    #[error("Invalid chunk extension: '{0}'")]
    ChunkExtension(Excerpt),
    /// A chunk's first line beyond [`crate::Limits::chunk_line`].
    #[error("maximum size of chunk header exceeded")]
    ChunkLineTooLong,
    /// Extensions beyond [`crate::Limits::chunk_extensions`].
    #[error("Maximum chunk excess detected")]
    ChunkExcess,
    /// A malformed trailer field.
    #[error("Invalid trailer: {0}")]
    Trailer(Excerpt),
    /// Trailers beyond [`crate::Limits::trailers`] or [`crate::Limits::fields`].
    #[error("trailer section too large")]
    TrailersTooLarge,
    /// More content than [`crate::Limits::body`].
    #[error("Payload Too Large")]
    ContentTooLarge,
}

impl Error {
    /// The one text that Puma has, up to level 6, for whatever does not follow its grammar.
    pub const NOT_HTTP: &'static str =
        "Invalid HTTP format, parsing fails. Are you trying to open an SSL connection to a non-SSL Puma?";

    /// Status code of the reply (RFC 9110 §15.5, §15.6; RFC 6585 §5).
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLong { element, .. } => match element {
                Element::RequestUri | Element::RequestPath | Element::QueryString | Element::Fragment => 414,
                Element::FieldName | Element::FieldValue | Element::Header => 431,
            },
            Self::TooManyFields { .. } => 431,
            Self::Version(_) => 505,
            Self::UnknownCoding(_) => 501,
            Self::ContentTooLarge => 413,
            _ => 400,
        }
    }
}

/// The parts of a head whose length Puma limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// See [`crate::Limits::field_name`].
    FieldName,
    /// See [`crate::Limits::field_value`].
    FieldValue,
    /// See [`crate::Limits::request_uri`].
    RequestUri,
    /// See [`crate::Limits::fragment`].
    Fragment,
    /// See [`crate::Limits::request_path`].
    RequestPath,
    /// See [`crate::Limits::query_string`].
    QueryString,
    /// See [`crate::Limits::head`].
    Header,
}

impl Element {
    fn name(self) -> &'static str {
        match self {
            Self::FieldName => "FIELD_NAME",
            Self::FieldValue => "FIELD_VALUE",
            Self::RequestUri => "REQUEST_URI",
            Self::Fragment => "FRAGMENT",
            Self::RequestPath => "REQUEST_PATH",
            Self::QueryString => "QUERY_STRING",
            Self::Header => "HEADER",
        }
    }

    /// The limit as Puma writes it: its defaults appear as the C expressions they come from.
    fn allowed(self, limit: usize) -> String {
        match (self, limit) {
            (Self::FieldName, 256) => "256".into(),
            (Self::FieldValue, 81_920) => "80 * 1024".into(),
            (Self::RequestUri, 12_288) => "(1024 * 12)".into(),
            (Self::Fragment, 1024) => "1024".into(),
            (Self::QueryString, 10_240) => "(1024 * 10)".into(),
            (Self::Header, 114_688) => "(1024 * (80 + 32))".into(),
            _ => format!("({limit})"),
        }
    }
}

/// A piece of what the peer sent, for a log line: at most 80 octets, everything but printable ASCII escaped.
///
/// It shows what had arrived when the fault was seen, so the same fault may come with a longer or shorter one.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    const OCTETS: usize = 80;

    /// The start of `octets`.
    pub(crate) fn of(octets: &[u8]) -> Self {
        Self(octets[..octets.len().min(Self::OCTETS)].escape_ascii().to_string().into_boxed_str())
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_pumas() {
        let too_long = |element, limit| Error::TooLong { element, limit }.to_string();
        for (text, want) in [
            (
                too_long(Element::RequestPath, 8192),
                "HTTP element REQUEST_PATH is longer than the (8192) allowed length (was 8193)",
            ),
            (
                too_long(Element::FieldName, 256),
                "HTTP element FIELD_NAME is longer than the 256 allowed length (was 257)",
            ),
            (
                too_long(Element::QueryString, 20),
                "HTTP element QUERY_STRING is longer than the (20) allowed length (was 21)",
            ),
            (Error::ChunkSize(Excerpt::of(b"0xA")).to_string(), "Invalid chunk size: '0xA'"),
            (Error::ContentLength(Excerpt::of(b"5.01")).to_string(), "Invalid Content-Length: \"5.01\""),
        ] {
            assert_eq!(text, want);
        }
    }

    #[test]
    fn excerpts_cannot_forge_a_log_line() {
        let excerpt = Excerpt::of(&[b"GE\r\nT\x1b\xff".as_slice(), &[b'a'; 500]].concat()).to_string();
        assert!(excerpt.starts_with("GE\\r\\nT\\x1b\\xff"), "{excerpt}");
        assert!(excerpt.len() < 200 && excerpt.is_ascii());
    }
}
