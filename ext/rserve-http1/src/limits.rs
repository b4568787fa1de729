//! How much of everything a peer may send.

/// Caps on one request, all in octets unless the field says otherwise. Every one is enforced before more than
/// that many octets are held, so the sum bounds what an unfinished request can cost.
///
/// The default values are Puma's where Puma has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Method. Puma: 20.
    pub method: usize,
    /// Request target without its fragment. Puma: 12 × 1024.
    pub request_uri: usize,
    /// Path within the target. Puma: 8192.
    pub request_path: usize,
    /// Query within the target, without the `?`. Puma: 10 × 1024.
    pub query_string: usize,
    /// Fragment within the target, without the `#`. Puma: 1024.
    pub fragment: usize,
    /// One field name. Puma: 256.
    pub field_name: usize,
    /// One field value, without the white space around it. Puma: 80 × 1024.
    pub field_value: usize,
    /// Request line and all field lines together, with their CRLFs. Puma: 112 × 1024.
    pub head: usize,
    /// Field lines of a head, and of a trailer section: a count. Puma has none; 512.
    pub fields: usize,
    /// Empty lines skipped before a request line (RFC 9112 §2.2): a count. Puma has 0; 1.
    pub blank_lines: usize,
    /// One chunk's size and extensions, without CRLF. Puma: 4096.
    pub chunk_line: usize,
    /// All chunk extensions of one body together. Puma: 16 × 1024.
    pub chunk_extensions: usize,
    /// The trailer section, with its CRLFs but the last. Puma has none; 16 × 1024.
    pub trailers: usize,
    /// Content of one request (`http_content_length_limit`); beyond it the request is refused with 413: by its
    /// head for a Content-Length, while it is read for a chunked body. Default: `None`, no limit.
    pub body: Option<u64>,
    /// Refuse HTTP/1.1 requests that name no host, as RFC 9112 §3.2 and RFC 9110 §4.2.1 demand. Default: false, as Puma.
    pub strict_host: bool,
    /// Refuse two things that Puma accepts and whose end is nevertheless unambiguous: `Transfer-Encoding:
    /// gzip, chunked` (else: decoded from chunked only), and Transfer-Encoding with Content-Length (else: read
    /// as chunked, and the connection is closed after it, RFC 9112 §6.3). Default: false.
    pub strict_framing: bool,
    /// Refuse what RFC 9110 and 9112 let a server refuse of request lines and of TRACE, and Puma accepts. Default: false.
    pub strict: bool,
    /// Keep fields from the application whose names have an underscore (`allow_underscore_headers false`). Default:
    /// false; those that a field with a dash has the CGI name of are always kept from it.
    pub hide_underscores: bool,
    /// Let the application see a field `Version`, because its CGI name, `HTTP_VERSION`, is not the server's to set (Rack from
    /// 3.1 on). Default: false.
    pub show_version: bool,
    /// Keep fields from the application by which a proxy in front says that it sends files (`X-Sendfile-Type`, `X-Accel-…`):
    /// here the server does, and clients have no say. Default: false.
    pub hide_sendfile: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            method: 20,
            request_uri: 12 * 1024,
            request_path: 8192,
            query_string: 10 * 1024,
            fragment: 1024,
            field_name: 256,
            field_value: 80 * 1024,
            head: 112 * 1024,
            fields: 512,
            blank_lines: 1,
            chunk_line: 4096,
            chunk_extensions: 16 * 1024,
            trailers: 16 * 1024,
            body: None,
            strict_host: false,
            strict_framing: false,
            strict: false,
            hide_underscores: false,
            show_version: false,
            hide_sendfile: false,
        }
    }
}
