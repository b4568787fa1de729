//! Request body framing: how many octets belong to a message (RFC 9112 §6).

use crate::grammar;
use crate::version::Version;
use crate::{Error, Excerpt, Limits};

/// How the end of a request body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: there is no body.
    #[default]
    None,
    /// Exactly this many octets follow the head. `Length(0)` was sent as `Content-Length: 0`.
    Length(u64),
    /// `Transfer-Encoding: chunked`; ends with the zero-length chunk (RFC 9112 §7.1) and the trailers.
    Chunked,
}

/// What the Transfer-Encoding fields of a request say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Coding {
    /// There is none.
    #[default]
    Absent,
    /// Nothing but empty list members, which count for nothing.
    Empty,
    /// Exactly `chunked`.
    Chunked,
    /// `chunked` after codings of the content, which the app must undo.
    ChunkedLast,
    /// Codings, but the last one is not `chunked`.
    NotChunked,
}

impl Coding {
    /// Adds the value of one more field.
    ///
    /// # Errors
    ///
    /// An unknown coding, or anything after `chunked`.
    pub(crate) fn note(&mut self, value: &[u8]) -> Result<(), Error> {
        if *self == Self::Absent {
            *self = Self::Empty;
        }
        for coding in grammar::list(value) {
            let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
            *self = match *self {
                Self::Chunked | Self::ChunkedLast if is(b"chunked") => {
                    return Err(Error::TransferEncoding("multiple chunked"));
                }
                Self::Chunked | Self::ChunkedLast => {
                    return Err(Error::TransferEncoding("last value must be chunked"));
                }
                Self::Absent | Self::Empty if is(b"chunked") => Self::Chunked,
                Self::NotChunked if is(b"chunked") => Self::ChunkedLast,
                _ if is(b"gzip") || is(b"deflate") || is(b"compress") => Self::NotChunked,
                _ => return Err(Error::UnknownCoding(Excerpt::of(coding))),
            };
        }
        Ok(())
    }
}

impl Framing {
    /// Decides the framing of one request.
    ///
    /// # Errors
    ///
    /// Whenever two readers could disagree; see [`Limits::strict_framing`] for the two cases left to choice.
    pub(crate) fn of_request(
        version: Version,
        coding: Coding,
        content_length: Option<u64>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        match (coding, content_length) {
            (Coding::Absent, None) => Ok(Self::None),
            (Coding::Absent, Some(length)) => Ok(Self::Length(length)),
            // RFC 9112 §6.1: a 1.0 message with Transfer-Encoding has been through something that does not know it.
            _ if version != Version::Http11 => Err(Error::TransferEncoding("only for HTTP/1.1")),
            (Coding::Empty, _) => Err(Error::TransferEncoding("empty value")),
            (Coding::NotChunked, _) => Err(Error::TransferEncoding("last value must be chunked")),
            (Coding::ChunkedLast, _) if limits.strict_framing => {
                Err(Error::UnknownCoding(Excerpt::of(b"other than chunked")))
            }
            (_, Some(_)) if limits.strict_framing => Err(Error::LengthAndCoding),
            _ => Ok(Self::Chunked),
        }
    }
}
