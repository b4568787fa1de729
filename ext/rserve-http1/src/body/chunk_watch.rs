//! Where a body ends that an application has chunked by itself.

use super::chunked::{Decoded, Decoder};
use crate::Limits;

/// Reads along with a chunked body that is passed on as it is.
///
/// An application that sets `Transfer-Encoding: chunked` frames its own body. The client believes it, so what follows
/// the last chunk would be the next response, and what is malformed would put both out of step.
///
/// ```
/// let mut watch = rserve_http1::ChunkWatch::default();
/// assert_eq!(watch.pass(b"2\r\nhi\r\n0\r"), 9);
/// assert!(!watch.is_complete());
/// assert_eq!(watch.pass(b"\n\r\nHTTP/1.1 200 OK"), 3);
/// assert!(watch.is_complete());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ChunkWatch {
    decoder: Decoder,
    limits: Limits,
    /// The beginning of a line that a part ended in; at most a line's limit.
    carried: Vec<u8>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Going,
    Complete,
    Malformed,
}

impl ChunkWatch {
    /// How many octets at the start of `part`, the next of the body, may be sent: all of them, or those up to the
    /// body's end. None of a part in which the coding is malformed, and of those that follow it.
    pub fn pass(&mut self, part: &[u8]) -> usize {
        self.read(part, |_| ())
    }

    /// Appends what is in the chunks of `part`, the next of the body: for a client that does not know the coding.
    pub fn unwrap(&mut self, part: &[u8], out: &mut Vec<u8>) {
        self.read(part, |data| out.extend_from_slice(data));
    }

    fn read(&mut self, part: &[u8], mut take: impl FnMut(&[u8])) -> usize {
        if self.verdict != Verdict::Going {
            return 0;
        }
        let carried = self.carried.len();
        let joined;
        let octets = if carried == 0 {
            part
        } else {
            self.carried.extend_from_slice(part);
            joined = std::mem::take(&mut self.carried);
            &joined
        };
        let mut position = 0;
        loop {
            match self.decoder.decode(&octets[position..], &self.limits) {
                Ok(Decoded::Data { consumed, data }) => {
                    take(&octets[position..][data]);
                    position += consumed;
                }
                Ok(Decoded::Partial { consumed }) => {
                    self.carried.extend_from_slice(&octets[position + consumed..]);
                    return part.len();
                }
                Ok(Decoded::End { consumed }) => {
                    self.verdict = Verdict::Complete;
                    // What was carried over has no end in it.
                    return (position + consumed).saturating_sub(carried);
                }
                Err(_) => {
                    self.verdict = Verdict::Malformed;
                    return 0;
                }
            }
        }
    }

    /// Whether the body has come to its end.
    pub fn is_complete(&self) -> bool {
        self.verdict == Verdict::Complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent of `body` when it is cut into parts of `size` octets, and whether that is all of it.
    fn sent(body: &[u8], size: usize) -> (Vec<u8>, bool) {
        let (mut watch, mut sent) = (ChunkWatch::default(), Vec::new());
        for part in body.chunks(size) {
            let kept = watch.pass(part);
            sent.extend_from_slice(&part[..kept]);
        }
        (sent, watch.is_complete())
    }

    #[test]
    fn nothing_passes_after_the_end() {
        let body = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
        let tail = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        for size in 1..=body.len() + tail.len() {
            assert_eq!(sent(&[&body[..], &tail[..]].concat(), size), (body.to_vec(), true), "{size}");
        }
    }

    #[test]
    fn what_is_in_the_chunks_is_found_however_they_come() {
        let body = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\nHTTP/1.1 200 OK";
        for size in 1..=body.len() {
            let (mut watch, mut found) = (ChunkWatch::default(), Vec::new());
            body.chunks(size).for_each(|part| watch.unwrap(part, &mut found));
            assert_eq!(found, b"hello!", "{size}");
            assert!(watch.is_complete());
        }
    }

    #[test]
    fn an_unfinished_body_is_not_complete() {
        let body = b"5\r\nhello\r\n0\r\n";
        for size in 1..=body.len() {
            assert_eq!(sent(body, size), (body.to_vec(), false), "{size}");
        }
    }

    #[test]
    fn nothing_passes_from_a_malformed_part_on() {
        for body in [&b"hello"[..], b"5\r\nhelloX", b"5\nhello\r\n", b"0\r\nHTTP/1.1 200 OK\r\n\r\n"] {
            for size in 1..=body.len() {
                let (sent, complete) = sent(body, size);
                assert!(!complete && sent.len() < body.len(), "{size} {sent:?}");
            }
        }
    }
}
