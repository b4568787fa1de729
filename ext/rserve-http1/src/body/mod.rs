//! Bodies: chunks that are taken apart, or only watched as they pass.

mod chunk_watch;
mod chunked;

pub use chunk_watch::ChunkWatch;
pub(crate) use chunked::{Decoded, Decoder};
