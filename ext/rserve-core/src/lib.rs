//! The server without Ruby: listeners, connections, the poller, the queue of complete requests, the cluster's
//! decisions.
//!
//! The rooms from the ground up; none imports one above it (`gem/tasks/rooms` checks it): [`tuning`], `sync`, [`sys`],
//! [`config`], [`backtraces`], [`observe`], [`net`], [`cluster`]'s own vocabulary, [`telemetry`], the cluster's balance, [`content`], [`connection`], [`pool`],
//! [`shared`], [`poller`], [`server`], [`metrics`], the cluster's link and master, and the
//! [`succession`] of generations. Each begins with what it is for.
//!
//! Reading order: [`server`] is what the bridge sees; [`connection`] says who may touch what, its
//! [`exchange`](connection::exchange) what a connection is in the middle of; [`poller`] polls; [`pool`] decides how many
//! Ruby threads there should be.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod backtraces;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod content;
pub mod metrics;
#[cfg(test)]
mod models;
pub mod net;
pub mod observe;
pub mod operator;
mod poller;
pub mod pool;
pub mod server;
mod shared;
pub mod succession;
mod sync;
mod sys;
pub mod telemetry;
pub mod tuning;

pub use sys::{could_make_threads, duplicate, limit_arenas, release_stack, trim_heap, write_log};
