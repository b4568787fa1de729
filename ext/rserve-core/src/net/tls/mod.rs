//! TLS by the system's OpenSSL, the one that Ruby uses: `ssl_bind`'s options, cipher strings and error texts are its own.
//!
//! [`context`] is what a listener offers, [`Tickets`] what clients resume sessions with, [`stream`] one client's connection. Handshakes are steps of reading: whoever
//! polls takes them, and nobody waits for them.

pub mod context;
mod handshakes;
mod socket;
pub mod stream;
mod tickets;

pub use context::{Context, Options, Pem};
pub use handshakes::Handshakes;
pub use stream::Fault;
pub use tickets::Tickets;

/// The OpenSSL that this was compiled against, as it names itself.
pub fn compiled_version() -> String {
    // MNN00PP0L (OPENSSL_VERSION_NUMBER(3)).
    let number = openssl::version::number();
    format!("OpenSSL {}.{}.{}", number >> 28, number >> 20 & 0xff, number >> 4 & 0xff)
}

/// The OpenSSL that is linked at run time.
pub fn library_version() -> &'static str {
    openssl::version::version()
}

#[cfg(test)]
pub(crate) mod tests;
