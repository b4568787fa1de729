//! The head of a request: request line and fields, as ranges of the octets they came in.

pub(crate) mod field_line;
pub(crate) mod field_section;
mod fields;
mod framing;
mod reader;
mod strict;

pub use framing::Framing;
pub(crate) use reader::{HeadReader, Read};

use crate::version::Version;

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

/// One field line of a head.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// A token, in the sender's case.
    pub name: Span,
    /// Without the SP and HTAB around it; may be empty. Of Host, the target's authority if it has one.
    pub value: Span,
    /// Whether the application may see it. False for `Proxy` (it would become `HTTP_PROXY`, which programs
    /// take for configuration) and `Version` (`HTTP_VERSION` is the server's to set; but see [`crate::Limits::show_version`]),
    /// for a name with `_` that a dashed name also maps to, for `Content_Length`,
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
    /// is not of the kind that asks for a close (see [`crate::Limits::strict_framing`]).
    pub keep_alive: bool,
    /// Whether an HTTP/1.1 client waits for `100 Continue`. Also true without a body, as Puma answers it then too.
    pub expects_continue: bool,
    /// Whether a field's name has an underscore.
    pub has_underscores: bool,
    /// Places of fields in the order of their names, only while they are being sorted.
    pub(crate) by_name: Vec<usize>,
}

impl Head {
    /// Whether the client may be sent a `103 Early Hints`: not by HTTP/1.0, whose clients take it for the response (RFC 9110
    /// §15.2). Puma's own tests, in every release, ask by a bare line of 1.0 and want it; no client does that, nor any proxy.
    pub fn takes_interim(&self) -> bool {
        self.version != Version::Http10 || self.host.is_none()
    }

    pub(crate) fn clear(&mut self) {
        let (mut fields, by_name) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.by_name));
        fields.clear();
        *self = Self { fields, by_name, ..Self::default() };
    }
}
