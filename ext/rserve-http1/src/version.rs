//! The version of a message.

/// The protocol version, as far as it changes what we do.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// HTTP/1.0, and every other version than 1.1: Puma's grammar takes `HTTP/` digits `.` digits and answers all
    /// of them as 1.0. Other versions than 1.0 are never kept alive ([`crate::Head::keep_alive`]).
    #[default]
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2: never read here. The head of such a request comes as one of HTTP/1.1 and has this set afterwards; its response
    /// is framed as for HTTP/1.0, whose bodies have no chunks either, and end with what they come on.
    Http2,
}
