//! The control server's side of `pumactl`: one small HTTP request in, a reply or
//! an action out.
//!
//! [`RequestReader`] turns octets into a [`Request`], [`Access::route`] decides
//! what it means, [`Reply`] is what goes back. Who accepts connections and
//! carries out the [`Action`] is the caller's business; a stop or a restart is
//! carried out *after* the reply is out.

mod reply;
mod request;
mod routes;

pub use reply::Reply;
pub use request::{Request, RequestReader};
pub use routes::{Access, Action, Outcome, Route};
