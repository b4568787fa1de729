//! The right to answer one request, and the duty to let go of its connection.

mod uploads;

use std::sync::Arc;
use std::time::Instant;

use super::Server;
use crate::connection::Connection;
use crate::connection::exchange::AfterSending;
pub use uploads::{BodyRead, wait_readable};

/// A connection whose request is being served. There is one lease for each request, and no copy of it: finishing takes it by
/// value, so that no response is finished twice. One that is dropped, as by a panic, aborts the response.
pub struct Lease {
    server: Arc<Server>,
    connection: Arc<Connection>,
    taken_at: Instant,
    after: AfterSending,
    in_fiber: bool,
}

impl Lease {
    pub(super) fn new(server: &Arc<Server>, connection: Arc<Connection>, taken_at: Instant) -> Self {
        Self { server: Arc::clone(server), connection, taken_at, after: AfterSending::Abort, in_fiber: false }
    }

    /// Of a request that a fiber serves.
    pub(super) fn in_fiber(server: &Arc<Server>, connection: Arc<Connection>, taken_at: Instant) -> Self {
        Self { server: Arc::clone(server), connection, taken_at, after: AfterSending::Abort, in_fiber: true }
    }

    pub(super) fn is_in_fiber(&self) -> bool {
        self.in_fiber
    }

    /// Whether a fiber serves, and a request waits that a thread would have begun if it had the GVL, and would soon give it
    /// back: none computes.
    pub fn gives_way(&self) -> bool {
        let server = &self.server;
        self.in_fiber
            && server.shared.backlog.len() > 0
            && !server.shared.threads.is_held()
            && !server.is_computing()
    }

    /// Whose connection it is.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The connection, to answer on.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// When a thread took the request.
    pub fn taken_at(&self) -> Instant {
        self.taken_at
    }

    /// The response is complete, or as complete as it will get: what is still to be sent goes to the poller. From any
    /// thread.
    pub fn finish(mut self, after: AfterSending) {
        self.after = after;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.in_fiber {
            self.connection.set_fiber(0);
        }
        self.server.finish(&self.connection, self.after);
    }
}
