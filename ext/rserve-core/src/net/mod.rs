//! Sockets: where connections come from, what is read and written, with TLS or without.

pub(crate) mod edges;
pub(crate) mod http2;
pub mod listener;
pub mod stream;
pub mod tls;
pub mod transfer;

pub use crate::sys::Peer;
