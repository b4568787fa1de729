//! Responses: how one is framed ([`ResponsePlan`]), and its octets ([`encode`], [`ResponseBody`]).

mod body;
mod connection;
pub mod encode;
pub mod field_lines;
mod plan;
pub mod status;

pub use body::{AfterBody, ResponseBody};
pub use connection::ConnectionOptions;
pub use plan::{Connection, ResponseFacts, ResponseFraming, ResponsePlan, Spelling, TransferEncoding};
