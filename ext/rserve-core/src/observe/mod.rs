//! What an operator sees of the server from outside: the log, the figures.

pub mod figures;
pub mod filter;
pub mod format;
pub mod line;
pub mod log;
