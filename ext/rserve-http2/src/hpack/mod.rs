//! HPACK, the compression of fields (RFC 7541).

mod decoder;
mod encoder;
pub mod huffman;
mod integer;
mod table;

pub use decoder::{Decoder, Fault};
pub use encoder::Encoder;
