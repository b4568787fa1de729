//! What whoever serves a request reads of a body that is still to come (`stream_uploads`).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Connection;
use crate::connection::exchange::{BodyFailure, Piece};
use crate::server::Server;
use crate::shared::Notice;

/// What [`Server::read_body`] brought.
#[derive(Debug)]
pub enum BodyRead {
    /// Some of the body.
    Octets,
    /// There is no more of it.
    End,
    /// Nothing now: the caller waits until `socket` can be read, for `limit` at most, and says how long it was
    /// ([`Server::waited_for_body`]).
    Wait {
        /// A descriptor of the connection's socket.
        socket: OwnedFd,
        /// How long the client may take.
        limit: Duration,
    },
}

impl Server {
    /// Appends some of the body of the request of this serial, at most `most` octets, to `into`, without waiting. A client
    /// that waits to be asked for it is asked, if `may_ask`.
    ///
    /// # Errors
    ///
    /// No more of it can be read; the same at each call from then on.
    pub fn read_body(
        &self,
        connection: &Connection,
        serial: u32,
        most: usize,
        into: &mut Vec<u8>,
        may_ask: bool,
    ) -> Result<BodyRead, BodyFailure> {
        self.check_home().map_err(|_| BodyFailure::Gone)?;
        let mut exchange = connection.exchange();
        match exchange.read_body(serial, most, into, may_ask, &self.shared.options)? {
            Piece::Octets => return Ok(BodyRead::Octets),
            Piece::End => {
                // It was not watched while it was read from.
                if connection.fiber() != 0 {
                    let _ = self.shared.register(connection, &mut exchange);
                }
                return Ok(BodyRead::End);
            }
            Piece::Nothing => {}
        }
        match exchange.await_body(self.shared.options.first_data_timeout) {
            Ok((socket, limit)) => {
                if exchange.is_blocked() {
                    let _ = self.hand_over(connection, exchange);
                } else if exchange.registered {
                    // The poller need not wake up for what it may not read.
                    self.shared.deregister(&exchange);
                    exchange.registered = false;
                }
                Ok(BodyRead::Wait { socket, limit })
            }
            Err(failure) => {
                if matches!(failure, BodyFailure::Late) {
                    self.shared.notify(Notice::TimedOut(connection.peer(), "body"));
                }
                Err(failure)
            }
        }
    }

    /// The caller has waited for so long, see [`BodyRead::Wait`].
    pub fn waited_for_body(&self, connection: &Connection, serial: u32, time: Duration) {
        if self.is_at_home() {
            connection.exchange().waited_for_body(serial, time);
        }
    }

    /// Whether another request may follow, as far as the body is concerned: it was read, or the application
    /// `wants_no_more` of it and only a little is left, which is there.
    pub fn is_body_read(&self, connection: &Arc<Connection>, wants_no_more: bool) -> bool {
        self.is_at_home() && connection.exchange().is_body_read(wants_no_more, &self.shared.options)
    }
}

/// Waits, for `limit` at most, until `socket` can be read; to be called without the GVL.
pub fn wait_readable(socket: &OwnedFd, limit: Duration) {
    crate::sys::wait_readable(socket.as_fd(), limit);
}
