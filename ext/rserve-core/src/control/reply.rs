//! What a control client hears.

use rserve_http1::{Version, encode};

/// A whole response; the connection closes after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Three digits.
    pub status: u16,
    /// `application/json` or `text/plain`.
    pub content_type: &'static str,
    /// The whole body; its texts are Puma's.
    pub body: String,
}

impl Reply {
    pub(super) fn json(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "application/json", body: body.into() }
    }

    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain", body: body.into() }
    }

    /// The octets of the response, in the version that the client speaks.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut octets = Vec::with_capacity(128 + self.body.len());
        encode::status_line(&mut octets, version, self.status);
        let (content_type, length) = (self.content_type, self.body.len());
        let fields =
            format!("content-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        octets.extend_from_slice(fields.as_bytes());
        octets.extend_from_slice(self.body.as_bytes());
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_framed_by_its_length() {
        let reply = Reply::json(200, r#"{ "status": "ok" }"#);
        assert_eq!(
            String::from_utf8(reply.encode(Version::Http10)).unwrap(),
            "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\ncontent-length: 18\r\nconnection: close\r\n\r\n\
             { \"status\": \"ok\" }"
        );
    }
}
