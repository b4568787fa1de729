//! What the processes of a cluster say to each other ([`ipc`]), and by what ([`pipes`], [`Bell`]).

mod bell;
pub mod ipc;
pub mod pipes;

pub use bell::Bell;
