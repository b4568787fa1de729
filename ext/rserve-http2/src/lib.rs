//! HTTP/2 as octets (RFC 9113, RFC 7541): no sockets, no clock, no Ruby.
//!
//! Read [`Session`] first: it is what a connection is made of. What comes in becomes [`Event`]s, a frame at a time; what
//! goes out is appended to [`Session::output`]. A request becomes a [`RequestHead`], which is the head that a gateway
//! would send on by HTTP/1.1 (RFC 9113 §8): limits and meaning of a request are then the same in both.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod budget;
mod fields;
mod frame;
pub mod hpack;
mod limits;
mod reason;
mod request;
mod session;

pub use fields::FieldList;
pub use frame::{MAX_FRAME, PREFACE, Preface, preface};
pub use limits::Limits;
pub use reason::Reason;
pub use request::{Malformed, RequestHead};
pub use session::{Event, Session};
