//! Reading a control request.

use rserve_http1::{Head, Limits, Progress, Receiver, Version};

use super::Reply;

/// Line and fields of a request together, in octets. Clients send about fifty.
const LONGEST_HEAD: usize = 16 * 1024;

/// What a control client asks: any method, and a body is not looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The path as sent.
    pub path: String,
    /// What follows the `?`, as sent; empty when there is none.
    pub query: String,
    /// The version to answer in.
    pub version: Version,
}

/// Collects the octets of one connection until its request is complete.
#[derive(Debug)]
pub struct RequestReader {
    receiver: Receiver,
    head: Head,
    octets: Vec<u8>,
}

impl Default for RequestReader {
    fn default() -> Self {
        let limits = Limits { head: LONGEST_HEAD, ..Limits::default() };
        Self { receiver: Receiver::new(limits), head: Head::default(), octets: Vec::new() }
    }
}

impl RequestReader {
    /// Takes what was read from the connection; `None` until the request is complete.
    ///
    /// # Errors
    ///
    /// The [`Reply`] to send when the octets are no request. Do not read on.
    pub fn push(&mut self, octets: &[u8]) -> Option<Result<Request, Reply>> {
        self.octets.extend_from_slice(octets);
        match self.receiver.advance(&self.octets, &mut self.head) {
            Ok(Progress::Partial { consumed }) => {
                self.octets.drain(..consumed);
                None
            }
            Ok(_) => Some(Ok(self.request())),
            Err(error) => Some(Err(Reply::text(error.status(), ""))),
        }
    }

    fn request(&self) -> Request {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Request {
            path: text(self.head.path.of(&self.octets)),
            query: self.head.query.map(|query| text(query.of(&self.octets))).unwrap_or_default(),
            version: self.head.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8], split: usize) -> Option<Result<Request, Reply>> {
        let mut reader = RequestReader::default();
        reader.push(&octets[..split]).or_else(|| reader.push(&octets[split..]))
    }

    #[test]
    fn request_is_read_however_it_arrives() {
        let octets = b"GET /stats?token=xxyyzz HTTP/1.0\r\nUser-Agent: x\r\n\r\n";
        let (path, query) = ("/stats".to_owned(), "token=xxyyzz".to_owned());
        let want = Request { path, query, version: Version::Http10 };
        for split in 0..=octets.len() {
            assert_eq!(read(octets, split), Some(Ok(want.clone())), "split at {split}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let endless = [b"GET /stats HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 2 * LONGEST_HEAD]].concat();
        for octets in [b"\x16\x03\x01\x02\x00".as_slice(), b"GET /stats\r\n\r\n", &endless] {
            let refused = read(octets, octets.len());
            assert!(matches!(refused, Some(Err(Reply { status: 400.., .. }))), "{refused:?}");
        }
    }
}
