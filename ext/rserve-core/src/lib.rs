//! The server without Ruby: listeners, connections, the poller, the queue of complete requests, the cluster's
//! decisions.
//!
//! Reading order: [`server`] is what the bridge sees; [`connection`] says who may touch what, [`exchange`] what a
//! connection is in the middle of; [`reactor`] polls; [`thread_pool`] decides how many Ruby threads there should be.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod backlog;
pub mod body;
pub mod cli;
pub mod cluster;
pub mod connection;
pub mod exchange;
pub mod large;
pub mod listener;
mod monitor;
pub mod network;
pub mod observe;
pub mod options;
pub mod outgoing;
mod reactor;
pub mod recent;
pub mod server;
mod slots;
pub mod spare_threads;
pub mod stream;
mod sys;
pub mod thread_pool;
pub mod tls;
mod unread;

pub use sys::{duplicate, limit_arenas, release_stack, write_log};
