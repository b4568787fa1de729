//! What the processes of a cluster say to each other ([`ipc`]), and by what ([`pipes`], [`post`], [`Bell`]).

mod bell;
pub mod ipc;
pub mod pipes;
pub mod post;

pub use bell::Bell;
