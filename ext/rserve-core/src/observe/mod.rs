//! What an operator sees of the server from outside: the log.

pub mod filter;
pub mod format;
pub mod line;
pub mod log;
