//! What holds for the content of a response in every version of HTTP (RFC 9110): whether the client has it already, which
//! part of it is wanted, how it may be coded, and which file it may be in. Fields' values in, decisions out.

pub mod codings;
pub mod conditions;
pub mod paths;
pub mod ranges;
