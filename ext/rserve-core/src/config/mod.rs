//! What the operator asks for: the command line, the options that a server has.

pub mod cli;
pub mod compat;
pub mod network;
pub mod options;
