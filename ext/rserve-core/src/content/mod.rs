//! What the server answers by itself: which file a request is for, whether the client has it already, and which part of it
//! goes out in which coding.
//!
//! [`Site`] holds the folders and opens files; all that is decided is in functions of octets and numbers. How the
//! answer goes onto the wire is the connection's affair.

pub mod answer;
pub mod coder;
pub mod compression;
pub mod encoders;
mod media;
mod names;
mod site;
mod storage;

use std::hash::{BuildHasher, Hasher, RandomState};

pub use answer::{Answer, Question, Selection};
pub(crate) use site::Stamp;
pub use site::{Found, Selected, Site};
pub use storage::{Sent, Storage, StorageError, StoredFile, sent};

/// A number that nobody can know beforehand.
pub fn salt() -> u64 {
    RandomState::new().build_hasher().finish()
}
