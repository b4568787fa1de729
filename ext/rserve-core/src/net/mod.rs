//! Sockets: where connections come from, what is read and written, with TLS or without.

pub mod listener;
pub mod stream;
pub mod tls;
pub mod transfer;
