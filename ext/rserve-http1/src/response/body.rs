//! The body of a response on its way out: what is sent of it, what stands around it, and what follows from its end.

use std::borrow::Cow;

use crate::ChunkWatch;
use crate::response::encode;
use crate::response::plan::ResponseFraming;

/// Keeps the framing that the head has announced, whatever the application gives.
///
/// ```
/// use rserve_http1::{AfterBody, ResponseBody, ResponseFraming};
///
/// let mut body = ResponseBody::new(ResponseFraming::Length(5));
/// assert_eq!(*body.admit(b"hel"), *b"hel");
/// assert_eq!(*body.admit(b"lo, world"), *b"lo");
/// assert_eq!(body.after(true), AfterBody::KeepAlive);
/// ```
#[derive(Debug)]
pub struct ResponseBody {
    framing: ResponseFraming,
    /// Octets that the Content-Length still promises.
    remaining: u64,
    /// Finds the end of a body that the application has chunked itself.
    chunks: Option<Box<ChunkWatch>>,
}

/// What the end of a body means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterBody {
    /// The next request may follow.
    KeepAlive,
    /// It is closed: nothing may follow, or the client sees by it that the body is not whole.
    Close,
    /// It is cut: a proper end would pass for the body's.
    Abort,
}

impl ResponseBody {
    /// The body that follows a head with this framing.
    pub fn new(framing: ResponseFraming) -> Self {
        let remaining = match framing {
            ResponseFraming::Length(length) => length,
            _ => u64::MAX,
        };
        let chunked = matches!(framing, ResponseFraming::AsSent | ResponseFraming::Unwrapped);
        Self { framing, remaining, chunks: chunked.then(Box::default) }
    }

    /// What is sent of `part`, the next of the application's: the beginning of it that the framing has room for, or what
    /// is in its chunks, where the client does not know them. It counts as sent.
    pub fn admit<'a>(&mut self, part: &'a [u8]) -> Cow<'a, [u8]> {
        let kept = match (self.framing, &mut self.chunks) {
            (ResponseFraming::None, _) => 0,
            (ResponseFraming::Unwrapped, Some(chunks)) => {
                let mut data = Vec::with_capacity(part.len());
                chunks.unwrap(part, &mut data);
                return Cow::Owned(data);
            }
            (ResponseFraming::AsSent, Some(chunks)) => chunks.pass(part),
            (ResponseFraming::Length(_), _) => {
                let kept = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(part.len());
                self.remaining -= kept as u64;
                kept
            }
            _ => part.len(),
        };
        Cow::Borrowed(&part[..kept])
    }

    /// As [`ResponseBody::admit`], of a part of `length` octets that is not looked at, and is not chunked.
    pub fn admit_unseen(&mut self, length: u64) -> u64 {
        match self.framing {
            ResponseFraming::None => 0,
            ResponseFraming::Length(_) => {
                let kept = self.remaining.min(length);
                self.remaining -= kept;
                kept
            }
            _ => length,
        }
    }

    /// Appends to `before` what precedes a part of `length` octets that was admitted, and gives what follows it.
    pub fn enclose(&self, length: usize, before: &mut Vec<u8>) -> &'static [u8] {
        if self.framing != ResponseFraming::Chunked || length == 0 {
            return &[];
        }
        encode::chunk_head(before, length);
        encode::CHUNK_END
    }

    /// What follows the last part.
    pub fn end(&self) -> &'static [u8] {
        if self.framing == ResponseFraming::Chunked { encode::LAST_CHUNK } else { &[] }
    }

    /// What becomes of the connection when no part follows; `keep_alive` says whether it may be kept.
    pub fn after(&self, keep_alive: bool) -> AfterBody {
        match (self.is_whole(), self.framing) {
            (true, _) if keep_alive => AfterBody::KeepAlive,
            // The end of the connection would pass for the end of the body.
            (false, ResponseFraming::Unwrapped) => AfterBody::Abort,
            _ => AfterBody::Close,
        }
    }

    /// Whether the framing has come to its end.
    fn is_whole(&self) -> bool {
        match self.framing {
            ResponseFraming::Length(_) => self.remaining == 0,
            ResponseFraming::AsSent | ResponseFraming::Unwrapped => {
                self.chunks.as_ref().is_some_and(|chunks| chunks.is_complete())
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AfterBody::{Abort, Close, KeepAlive};
    use ResponseFraming::{AsSent, Chunked, Length, None as NoBody, UntilClose, Unwrapped};

    #[test]
    fn what_was_announced_is_what_is_sent() {
        for (framing, parts, sent, after) in [
            (NoBody, &["hello"][..], "", KeepAlive),
            (NoBody, &[], "", KeepAlive),
            (Length(5), &["hello"], "hello", KeepAlive),
            (Length(5), &["hel", "", "lo"], "hello", KeepAlive),
            (Length(5), &["hel", "lo, wor", "ld"], "hello", KeepAlive),
            (Length(5), &["hell"], "hell", Close),
            (Length(5), &[], "", Close),
            (Length(0), &[], "", KeepAlive),
            (Length(0), &["hello"], "", KeepAlive),
            (
                Chunked,
                &["hello", "", " world of 16 oct"],
                "5\r\nhello\r\n10\r\n world of 16 oct\r\n0\r\n\r\n",
                KeepAlive,
            ),
            (Chunked, &[], "0\r\n\r\n", KeepAlive),
            (AsSent, &["5\r\nhel", "lo\r\n0\r\n\r\n"], "5\r\nhello\r\n0\r\n\r\n", KeepAlive),
            (AsSent, &["0\r\n\r\nHTTP/1.1 200 OK", "more"], "0\r\n\r\n", KeepAlive),
            (AsSent, &["5\r\nhello\r\n"], "5\r\nhello\r\n", Close),
            (AsSent, &["5\r\nhello\r\n", "x\r\n"], "5\r\nhello\r\n", Close),
            (AsSent, &["hello"], "", Close),
            (Unwrapped, &["5\r\nhel", "lo\r\n0\r\n\r\n"], "hello", KeepAlive),
            (Unwrapped, &["5\r\nhel"], "hel", Abort),
            (Unwrapped, &["hello"], "", Abort),
            (UntilClose, &["hel", "lo"], "hello", KeepAlive),
            (UntilClose, &[], "", KeepAlive),
        ] {
            let (mut body, mut out) = (ResponseBody::new(framing), Vec::new());
            for part in parts {
                let part = body.admit(part.as_bytes());
                let suffix = body.enclose(part.len(), &mut out);
                out.extend_from_slice(&part);
                out.extend_from_slice(suffix);
            }
            out.extend_from_slice(body.end());
            assert_eq!((str::from_utf8(&out), body.after(true)), (Ok(sent), after), "{framing:?} {parts:?}");
            let closed = if after == Abort { Abort } else { Close };
            assert_eq!(body.after(false), closed, "{framing:?} {parts:?}");
        }
    }

    #[test]
    fn a_file_is_counted_without_being_read() {
        for (framing, lengths, sent, after) in [
            (NoBody, &[5][..], 0, KeepAlive),
            (Length(5), &[5], 5, KeepAlive),
            (Length(5), &[9], 5, KeepAlive),
            (Length(5), &[4], 4, Close),
            (Length(5), &[3, 3], 5, KeepAlive),
            (UntilClose, &[5], 5, KeepAlive),
        ] {
            let mut body = ResponseBody::new(framing);
            let admitted: u64 = lengths.iter().map(|&length| body.admit_unseen(length)).sum();
            assert_eq!((admitted, body.after(true)), (sent, after), "{framing:?} {lengths:?}");
        }
    }
}
