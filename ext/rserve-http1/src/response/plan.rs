//! How a response is framed, and whether the connection lives on after it (RFC 9112 §§6, 9).

use crate::decimal::decimal;
use crate::response::status::no_body;
use crate::version::Version;

/// What is known about a response before its head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// Version of the request; the response's status line has the same.
    pub version: Version,
    /// Whether the request's method is HEAD.
    pub head_request: bool,
    /// Status of the response.
    pub status: u16,
    /// The app's Content-Length ([`crate::response::encode::content_length`]), else the length of a body that can be measured.
    pub content_length: Option<u64>,
    /// The app's Transfer-Encoding, if it has one: the last one, when there are several.
    pub transfer_encoding: TransferEncoding,
    /// Whether everyone who has a say wants to keep the connection: the request ([`crate::Head::keep_alive`]), the
    /// configuration, the server's state.
    pub keep_alive: bool,
}

/// The Transfer-Encoding of an application's response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferEncoding {
    /// None: the server frames the body.
    #[default]
    Absent,
    /// `chunked` alone: the app's body is already encoded, its last chunk included.
    Chunked,
    /// Another coding, and `chunked` last.
    CodedAndChunked,
    /// Anything else.
    Other,
}

impl TransferEncoding {
    /// Reads the value of the app's Transfer-Encoding field.
    pub fn of_value(value: &[u8]) -> Self {
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let mut codings = crate::grammar::list(value);
        match codings.position(is_chunked) {
            Some(before) if codings.next().is_none() => match before {
                0 => Self::Chunked,
                _ => Self::CodedAndChunked,
            },
            _ => Self::Other,
        }
    }
}

/// How the end of a response body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body is sent: HEAD, 1xx, 204, 205, 304.
    None,
    /// Exactly this many octets are sent. A longer body is cut; after a shorter one the connection is closed.
    Length(u64),
    /// The server chunks ([`crate::response::encode::chunk_head`]).
    Chunked,
    /// The app's octets are sent as they are, up to the end that its own chunks mark ([`crate::ChunkWatch`]).
    AsSent,
    /// The app's chunks are taken apart ([`crate::ChunkWatch::unwrap`]), and the body ends with the connection: a client
    /// of HTTP/1.0 knows no coding.
    Unwrapped,
    /// The body ends with the connection.
    UntilClose,
}

/// The framing fields of a response and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePlan {
    /// How the body is sent.
    pub framing: ResponseFraming,
    /// Whether the connection stays open for the next request.
    pub keep_alive: bool,
    /// Value of the Content-Length field to write, if one is.
    pub content_length: Option<u64>,
    /// Whether `Transfer-Encoding: chunked` is to be written.
    pub chunked: bool,
    /// Whether the app's Transfer-Encoding may be sent (RFC 9112 §6.1): not for HTTP/1.0, nor where there is no body.
    pub sends_coding: bool,
    /// The Connection field to write, if the version's default is not what happens.
    pub connection: Option<Connection>,
}

/// Value of the Connection field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// On 1.1, where the default is to stay.
    Close,
    /// On 1.0, where the default is to close.
    KeepAlive,
}

/// How the server spells the names it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// `Content-Length`, `Connection: Keep-Alive`; the app's names as they are. Puma up to level 6.
    #[default]
    Title,
    /// All in lower case. Puma from level 7.
    Lower,
}

impl ResponseFacts {
    /// Whether the client can neither be told of the app's coding nor be spared it.
    pub fn coding_is_lost(&self) -> bool {
        self.version != Version::Http11
            && matches!(self.transfer_encoding, TransferEncoding::CodedAndChunked | TransferEncoding::Other)
            && !self.head_request
            && !no_body(self.status)
    }
}

impl ResponsePlan {
    /// Decides how to send a response.
    ///
    /// Only fields that change the version's default are asked for: no `Connection` on a 1.1 connection that stays
    /// open, nor on a 1.0 connection that closes.
    pub fn of(facts: ResponseFacts) -> Self {
        let ResponseFacts { version, head_request, status, content_length, transfer_encoding, keep_alive } =
            facts;
        let is_11 = version == Version::Http11;

        let framing = if head_request || no_body(status) {
            ResponseFraming::None
        } else {
            match (transfer_encoding, content_length) {
                (TransferEncoding::Chunked | TransferEncoding::CodedAndChunked, _) if is_11 => {
                    ResponseFraming::AsSent
                }
                (TransferEncoding::Chunked, _) => ResponseFraming::Unwrapped,
                (TransferEncoding::Absent, Some(length)) => ResponseFraming::Length(length),
                (TransferEncoding::Absent, None) if is_11 => ResponseFraming::Chunked,
                _ => ResponseFraming::UntilClose,
            }
        };
        let content_length = match (framing, transfer_encoding) {
            (ResponseFraming::Length(length), _) => Some(length),
            // RFC 9110 §8.6: not in 1xx and 204. A 205 has no body, but only a length of 0 tells the client so.
            (ResponseFraming::None, coding) => match status {
                ..200 | 204 => None,
                205 => Some(0),
                _ => content_length.filter(|_| coding == TransferEncoding::Absent),
            },
            _ => None,
        };
        // After a 1xx the client still waits: it would take the answer to its next request for the final one. After
        // a 101 what follows is no HTTP.
        let keep_alive = keep_alive
            && !matches!(framing, ResponseFraming::UntilClose | ResponseFraming::Unwrapped)
            && status >= 200;
        let connection = match (keep_alive, is_11) {
            (false, true) => Some(Connection::Close),
            (true, false) => Some(Connection::KeepAlive),
            _ => None,
        };
        let chunked = framing == ResponseFraming::Chunked;
        let sends_coding = is_11 && !matches!(status, ..200 | 204 | 205);
        Self { framing, keep_alive, content_length, chunked, sends_coding, connection }
    }

    /// Appends the fields that were decided on, in Puma's order: Connection, then Content-Length or
    /// Transfer-Encoding. They follow the app's fields; the empty line that ends the head is not written.
    pub fn write_fields(&self, out: &mut Vec<u8>, spelling: Spelling) {
        let spelled = |title: &'static [u8], lower: &'static [u8]| match spelling {
            Spelling::Title => title,
            Spelling::Lower => lower,
        };
        match self.connection {
            Some(Connection::Close) => {
                out.extend_from_slice(spelled(b"Connection: close\r\n", b"connection: close\r\n"));
            }
            Some(Connection::KeepAlive) => {
                out.extend_from_slice(spelled(b"Connection: Keep-Alive\r\n", b"connection: keep-alive\r\n"));
            }
            None => {}
        }
        if let Some(length) = self.content_length {
            out.extend_from_slice(spelled(b"Content-Length: ", b"content-length: "));
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if self.chunked {
            out.extend_from_slice(spelled(
                b"Transfer-Encoding: chunked\r\n",
                b"transfer-encoding: chunked\r\n",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ResponseFacts {
        ResponseFacts {
            version: Version::Http11,
            head_request: false,
            status: 200,
            content_length: None,
            transfer_encoding: TransferEncoding::Absent,
            keep_alive: true,
        }
    }

    fn lines(facts: ResponseFacts, spelling: Spelling) -> String {
        let mut out = Vec::new();
        ResponsePlan::of(facts).write_fields(&mut out, spelling);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn framing_follows_from_what_is_known() {
        use ResponseFraming::{AsSent, Chunked, Length, None as NoBody, UntilClose, Unwrapped};
        let http10 = ResponseFacts { version: Version::Http10, ..facts() };
        let sized = ResponseFacts { content_length: Some(5), ..facts() };
        let coded = |transfer_encoding| ResponseFacts { transfer_encoding, ..facts() };
        for (name, facts, framing, keep_alive, want) in [
            ("sized", sized, Length(5), true, "Content-Length: 5\r\n"),
            ("stream", facts(), Chunked, true, "Transfer-Encoding: chunked\r\n"),
            (
                "HEAD, sized",
                ResponseFacts { head_request: true, ..sized },
                NoBody,
                true,
                "Content-Length: 5\r\n",
            ),
            ("HEAD, stream", ResponseFacts { head_request: true, ..facts() }, NoBody, true, ""),
            ("204, sized", ResponseFacts { status: 204, ..sized }, NoBody, true, ""),
            ("205", ResponseFacts { status: 205, ..sized }, NoBody, true, "Content-Length: 0\r\n"),
            ("304, sized", ResponseFacts { status: 304, ..sized }, NoBody, true, "Content-Length: 5\r\n"),
            ("101, sized", ResponseFacts { status: 101, ..sized }, NoBody, false, "Connection: close\r\n"),
            ("a final 100", ResponseFacts { status: 100, ..facts() }, NoBody, false, "Connection: close\r\n"),
            ("1.0, stream", http10, UntilClose, false, ""),
            (
                "1.0, sized",
                ResponseFacts { content_length: Some(5), ..http10 },
                Length(5),
                true,
                "Connection: Keep-Alive\r\nContent-Length: 5\r\n",
            ),
            (
                "1.0, sized, close",
                ResponseFacts { content_length: Some(5), keep_alive: false, ..http10 },
                Length(5),
                false,
                "Content-Length: 5\r\n",
            ),
            ("1.0, 204", ResponseFacts { status: 204, ..http10 }, NoBody, true, "Connection: Keep-Alive\r\n"),
            (
                "sized, close",
                ResponseFacts { keep_alive: false, ..sized },
                Length(5),
                false,
                "Connection: close\r\nContent-Length: 5\r\n",
            ),
            ("app chunks", coded(TransferEncoding::Chunked), AsSent, true, ""),
            ("app codes and chunks", coded(TransferEncoding::CodedAndChunked), AsSent, true, ""),
            ("app codes", coded(TransferEncoding::Other), UntilClose, false, "Connection: close\r\n"),
            (
                "1.0, app chunks",
                ResponseFacts { version: Version::Http10, ..coded(TransferEncoding::Chunked) },
                Unwrapped,
                false,
                "",
            ),
            (
                "205, app chunks",
                ResponseFacts { status: 205, ..coded(TransferEncoding::Chunked) },
                NoBody,
                true,
                "Content-Length: 0\r\n",
            ),
            (
                "204, app chunks",
                ResponseFacts { status: 204, ..coded(TransferEncoding::Chunked) },
                NoBody,
                true,
                "",
            ),
            (
                "app chunks, sized",
                ResponseFacts { content_length: Some(5), ..coded(TransferEncoding::Chunked) },
                AsSent,
                true,
                "",
            ),
        ] {
            let plan = ResponsePlan::of(facts);
            assert_eq!((plan.framing, plan.keep_alive), (framing, keep_alive), "{name}");
            assert_eq!(lines(facts, Spelling::Title), want, "{name}");
        }
    }

    #[test]
    fn level_7_spells_in_lower_case() {
        let http10 = ResponseFacts { version: Version::Http10, content_length: Some(5), ..facts() };
        assert_eq!(lines(http10, Spelling::Lower), "connection: keep-alive\r\ncontent-length: 5\r\n");
        let close = ResponseFacts { keep_alive: false, ..facts() };
        assert_eq!(lines(close, Spelling::Lower), "connection: close\r\ntransfer-encoding: chunked\r\n");
    }

    #[test]
    fn a_body_without_a_mark_always_closes() {
        for version in [Version::Http10, Version::Http11] {
            for status in [100, 101, 103, 200, 204, 205, 206, 304, 404, 500] {
                for content_length in [None, Some(0), Some(7)] {
                    for transfer_encoding in
                        [TransferEncoding::Absent, TransferEncoding::Chunked, TransferEncoding::Other]
                    {
                        for (head_request, keep_alive) in
                            [(false, true), (true, true), (false, false), (true, false)]
                        {
                            let facts = ResponseFacts {
                                version,
                                head_request,
                                status,
                                content_length,
                                transfer_encoding,
                                keep_alive,
                            };
                            let plan = ResponsePlan::of(facts);
                            assert!(
                                plan.framing != ResponseFraming::UntilClose || !plan.keep_alive,
                                "{facts:?}"
                            );
                            assert!(!plan.keep_alive || keep_alive, "{facts:?}");
                            assert!(!(plan.chunked && plan.content_length.is_some()), "{facts:?}");
                            assert!(!plan.chunked || version == Version::Http11, "{facts:?}");
                            let may_be_coded =
                                version == Version::Http11 && ![100, 101, 103, 204, 205].contains(&status);
                            assert!(!plan.sends_coding || may_be_coded, "{facts:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn only_a_last_chunked_is_a_framing() {
        for (value, want) in [
            ("chunked", TransferEncoding::Chunked),
            (", chunked,", TransferEncoding::Chunked),
            ("gzip, Chunked", TransferEncoding::CodedAndChunked),
            ("chunked, gzip", TransferEncoding::Other),
            ("chunked, chunked", TransferEncoding::Other),
            ("identity", TransferEncoding::Other),
            ("", TransferEncoding::Other),
        ] {
            assert_eq!(TransferEncoding::of_value(value.as_bytes()), want, "{value:?}");
        }
    }
}
