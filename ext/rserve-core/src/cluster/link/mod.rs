//! What the processes of a cluster say to each other ([`ipc`]), and by what ([`pipes`], [`post`], [`Bell`]).

pub mod ipc;
pub mod pipes;
pub mod post;

pub use crate::sys::Bell;
