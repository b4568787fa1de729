//! HTTP/1.1 as octets: no sockets, no clock, no Ruby.
//!
//! Read [`Receiver`] first: it is what a connection is made of. It fills a [`Head`] and
//! decides by [`Framing`] where the body ends. [`encode`] writes heads and chunks of
//! responses, [`ResponsePlan`] decides how a response is framed and whether the connection lives on,
//! [`ResponseBody`] keeps to it. [`cgi`] names fields for
//! Rack; [`proxy`] reads the PROXY protocol that may come before all of it. [`content`] is what holds in every version of
//! HTTP: conditional requests, ranges, content codings.
//!
//! The grammar is Puma's where Puma is the stricter or the more tolerant one without harm, RFC 9110 and 9112
//! everywhere else. The request line is read here; the fields of a section that has arrived as a whole are read by
//! httparse, and a line that it accepts or refuses otherwise than the grammar by the reader that also reads what is
//! still arriving.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod body;
pub mod cgi;
pub mod content;
mod date;
pub mod decimal;
mod error;
mod grammar;
mod head;
mod limits;
pub mod proxy;
mod receiver;
mod response;
mod version;

pub use body::ChunkWatch;
pub use date::{civil, date, parse_date};
pub use error::{Element, Error, Excerpt};
pub use head::{Field, Framing, Head, Span};
pub use limits::Limits;
pub use receiver::{Progress, Receiver};
pub use response::{
    AfterBody, Connection, ConnectionOptions, ResponseBody, ResponseFacts, ResponseFraming, ResponsePlan,
    Spelling, TransferEncoding, encode, field_lines, status,
};
pub use version::Version;
