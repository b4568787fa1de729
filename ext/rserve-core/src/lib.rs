//! The server without Ruby.
#![deny(unsafe_code)]
#![deny(missing_docs)]
