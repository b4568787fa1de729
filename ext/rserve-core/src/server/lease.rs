//! The right to answer one request, and the duty to let go of its connection.

use std::sync::Arc;

use rserve_core::connection::Connection;
use rserve_core::connection::exchange::AfterSending;
use rserve_core::server::Server;

/// A connection whose request is being served. Whoever has it finishes it, and by that no longer has it; one that is
/// dropped, as by a panic, is aborted.
pub(crate) struct Lease {
    server: Arc<Server>,
    connection: Arc<Connection>,
    after: AfterSending,
}

impl Lease {
    /// There is to be one for each request, made where it is taken.
    pub(crate) fn new(server: &Arc<Server>, connection: Arc<Connection>) -> Self {
        Self { server: Arc::clone(server), connection, after: AfterSending::Abort }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The response is complete, or as complete as it will get.
    pub(crate) fn finish(mut self, after: AfterSending) {
        self.after = after;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.finish(&self.connection, self.after);
    }
}
