//! HTTP/1.1 as bytes.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
