//! The way out: sending a response on a connection that the caller owns, and letting go of it.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use nix::errno::Errno;

use super::{Notice, Server, Status, told};
use crate::config::options::Options;
use crate::connection::Connection;
use crate::connection::access;
use crate::connection::exchange::{AfterSending, Exchange, Outcome};
use crate::connection::ownership::Ownership;
use crate::connection::request::Request;
use crate::content::StoredFile;
use crate::net::stream::Stream;
use crate::telemetry::Spent;

impl Server {
    /// Sends a part of the response to `connection`, whose request the caller is serving, without ever waiting.
    ///
    /// # Errors
    ///
    /// The connection is lost; its lease is still to be finished.
    pub fn write(&self, connection: &Connection, slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.write_by(connection, |exchange, options| exchange.write(slices, options))
    }

    /// As [`Server::write`], of what ends a response behind which the connection is closed. The lease is to be finished at
    /// once.
    ///
    /// # Errors
    ///
    /// As [`Server::write`].
    pub fn write_last(&self, connection: &Connection, octets: &[u8]) -> io::Result<()> {
        self.write_by(connection, |exchange, options| exchange.write_last(octets, options))
    }

    fn write_by(
        &self,
        connection: &Connection,
        write: impl FnOnce(&mut Exchange, &Options) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check_home()?;
        let written = write(&mut connection.exchange(), &self.shared.options);
        self.note_unread();
        written.inspect_err(|failure| self.note_failure(connection, failure))
    }

    /// As [`Server::write`], for one of the parts of which an application makes many: parts that follow each other
    /// closely go out together, at the latest a few milliseconds after they came. `true` when so much of the response
    /// waits for the client that the caller should wait, too ([`Server::wait_for_reader`]).
    ///
    /// # Errors
    ///
    /// As [`Server::write`].
    pub fn write_part(&self, connection: &Arc<Connection>, slices: &[IoSlice<'_>]) -> io::Result<bool> {
        self.check_home()?;
        // A fiber that sees it here need not hear of it.
        self.send_part(connection, slices).inspect_err(|failure| self.note_failure(connection, failure))
    }

    fn note_failure(&self, connection: &Connection, failure: &io::Error) {
        connection.set_fiber(0);
        if failure.kind() == io::ErrorKind::StorageFull {
            self.shared.notify(Notice::NotHeld(failure.to_string()));
        }
    }

    fn send_part(&self, connection: &Arc<Connection>, slices: &[IoSlice<'_>]) -> io::Result<bool> {
        let mut exchange = connection.exchange();
        if exchange.write_part(slices, &self.shared.options, Instant::now())? {
            if self.status() == Status::Done {
                // There is no monitor any more: the application goes on with a stream after the server's end.
                exchange.uncork(Instant::now());
            } else {
                self.corked().push(Arc::clone(connection));
                self.shared.monitor.hurry();
            }
        }
        let ahead = exchange.is_ahead();
        self.hand_over(connection, exchange)?;
        self.note_unread();
        Ok(ahead)
    }

    /// Leaves what the socket does not take to the poller, which goes on with it while the rest of the response is made.
    pub(in crate::server) fn hand_over(
        &self,
        connection: &Connection,
        mut exchange: MutexGuard<'_, Exchange>,
    ) -> io::Result<()> {
        let mut more = false;
        if exchange.is_blocked() {
            self.shared.register(connection, &mut exchange)?;
            // An edge comes only to a socket that was full, which one that took a part need not be.
            more = connection.send_more(&mut exchange);
        }
        drop(exchange);
        self.make_up_for(connection, more);
        Ok(())
    }

    /// Sends what the poller left to the caller, who had the exchange meanwhile; `more` when the socket may take more
    /// anyway.
    pub(super) fn make_up_for(&self, connection: &Connection, mut more: bool) {
        Ownership::see_each_other();
        while connection.owner.take_writable() {
            more |= connection.send_more(&mut connection.exchange());
        }
        if more {
            self.shared.returned().again.push(connection.id());
            self.shared.wake_poller();
        }
    }

    /// Looks at the stream of a connection whose response may be on its way. `None` when it has none any more.
    fn look_at<T>(&self, connection: &Connection, look: impl FnOnce(&Stream) -> Option<T>) -> Option<T> {
        let seen = connection.exchange().stream().and_then(look);
        if self.is_at_home() {
            self.make_up_for(connection, false);
        }
        seen
    }

    /// Whether the client of the request that is served on `connection` is gone for certain.
    pub(super) fn is_client_gone(&self, connection: &Connection) -> bool {
        let gone = connection.exchange().is_client_gone();
        self.make_up_for(connection, false);
        gone
    }

    /// Sends what [`Server::write_part`] held back; `false` when there was nothing.
    pub(crate) fn uncork(&self, now: Instant) -> bool {
        let corked = std::mem::take(&mut *self.corked());
        for connection in &corked {
            let mut exchange = connection.exchange();
            exchange.uncork(now);
            // A failure shows at the next write.
            let _ = self.hand_over(connection, exchange);
        }
        !corked.is_empty()
    }

    /// The response to `connection` has this status, for the access log.
    pub fn note_status(&self, connection: &Connection, status: u16) {
        if (access::is_wanted() || self.shared.telemetry.get().is_some()) && self.is_at_home() {
            connection.exchange().note_status(status);
        }
    }

    /// Queues `len` octets of `file` from `offset`, after what was written before.
    pub fn write_file(&self, connection: &Connection, file: std::fs::File, offset: u64, len: u64) {
        if self.is_at_home() {
            connection.exchange().write_file(Arc::new(file), offset, len, None);
        }
    }

    /// Queues `len` octets of a file that the application has named, as long as it stays as it is.
    pub fn write_stored(&self, connection: &Connection, stored: &StoredFile, offset: u64, len: u64) {
        if self.is_at_home() {
            let file = Arc::clone(&stored.file);
            connection.exchange().write_file(file, offset, len, Some(stored.stamp));
        }
    }

    /// The thread that served the request of `connection` is done with it, and the application goes on with the response
    /// when and where it likes: from now on a stop does not wait for it.
    pub fn leave_to_application(&self, connection: &Connection) {
        connection.set_apart(true);
        if let Some(spent) = self.spent() {
            connection.exchange().note_spent(Some(spent));
        }
        if self.is_at_home() && self.status() >= Status::Draining {
            self.shared.wake_poller();
        }
    }

    /// Lets go of `connection`, whose response is complete, or as complete as it will get. Once for each request: see
    /// [`Lease`](super::Lease).
    pub(super) fn finish(&self, connection: &Arc<Connection>, after: AfterSending) {
        if !self.is_at_home() {
            return;
        }
        let spent = self.spent();
        let mut exchange = connection.exchange();
        if !exchange.is_given_up() {
            exchange.note_spent(spent);
            self.conclude(connection, exchange, after);
        }
    }

    /// How the calling thread has spent its time on the request that it has, if the access log tells.
    fn spent(&self) -> Option<Spent> {
        let told = self.shared.options.suspensions_told && access::is_wanted();
        told.then(told::spent).flatten()
    }

    /// As [`Server::finish`], by whoever answered.
    pub(super) fn conclude(
        &self,
        connection: &Arc<Connection>,
        mut exchange: MutexGuard<'_, Exchange>,
        after: AfterSending,
    ) {
        let now = Instant::now();
        self.shared.touch(now);
        connection.set_apart(false);
        exchange.finish(after);
        let mut outcome = Outcome::Wait;
        connection.owner.let_go(|edges| {
            exchange.saw(edges);
            // The calling thread may have the GVL.
            outcome = self.shared.progress(connection, &mut exchange, now, true);
            let lets_go = matches!(outcome, Outcome::Wait | Outcome::Again);
            if lets_go {
                self.shared.set_deadline(connection, &exchange, now);
            }
            lets_go
        });
        match outcome {
            Outcome::Queue => {
                self.shared.queue(connection, exchange, now);
                // The caller may have more to do before it looks for requests, and a poller that sleeps sees none.
                self.shared.monitor.rouse();
            }
            // A connection speaks one protocol from its first request on.
            Outcome::Wait | Outcome::Carry => {}
            Outcome::Again => {
                drop(exchange);
                self.shared.returned().again.push(connection.id());
                self.shared.wake_poller();
            }
            Outcome::Close => {
                exchange.close();
                drop(exchange);
                self.shared.returned().closed.push(connection.id());
                if connection.carrier().is_none()
                    && let Some(place) = self.shared.place.get()
                {
                    place.one_connection_less();
                }
                if self.status() >= Status::Draining {
                    self.shared.wake_poller();
                }
            }
        }
    }

    /// Gives the connection's socket to the caller for good, with the octets that were read beyond the request.
    /// `None` when it is gone already. Its lease is still to be finished, which then touches nothing.
    pub fn hijack(&self, connection: &Connection) -> Option<(Stream, Vec<u8>)> {
        let mut exchange = connection.exchange();
        // epoll's set is one and the same in a child.
        if self.is_at_home() {
            self.shared.deregister(&exchange);
        }
        exchange.hijack()
    }

    /// The certificate that a TLS client showed, in DER.
    pub fn peer_certificate(&self, connection: &Connection) -> Option<Vec<u8>> {
        self.look_at(connection, Stream::peer_certificate)
    }

    /// The version of TLS on `connection`; `None` without, or when it is closed.
    pub fn tls_version(&self, connection: &Connection) -> Option<&'static str> {
        self.look_at(connection, Stream::tls_version)
    }

    /// A duplicate of the connection's socket, for an application that wants to look at it.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or the connection is closed (`EBADF`).
    pub fn duplicate_socket(&self, connection: &Connection) -> io::Result<OwnedFd> {
        let mut exchange = connection.exchange();
        if exchange.is_given_up() {
            return Err(Errno::EBADF.into());
        }
        exchange.share();
        drop(exchange);
        let duplicate =
            |stream: &Stream| stream.socket().map(|socket| crate::sys::duplicate(socket.as_raw_fd()));
        self.look_at(connection, duplicate).unwrap_or_else(|| Err(Errno::EBADF.into()))
    }

    pub(super) fn check_home(&self) -> io::Result<()> {
        if self.is_at_home() { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Whether a response may keep its connection open, once the body of the request is read: not while stopping, and not for
    /// ever.
    pub fn may_keep_alive(&self, request: &Request) -> bool {
        request.keeps_connection(&self.shared.options) && self.status() == Status::Running
    }
}
