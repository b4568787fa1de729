//! Clients that read more slowly than their responses are made: threads that wait for them, and who is cut off. What is
//! decided, and why, see [`crate::connection::unread`].

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Look, Server};
use crate::connection::Connection;
use crate::connection::exchange::{Exchange, Waiter};
use crate::connection::unread::{self, Reader, Relief};
use crate::sys::{Bell, Parking};
use crate::tuning::LONGEST_LEFT;

thread_local! {
    /// The calling thread is one of a pool and serves a request.
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread begins to serve a request, or is done with it.
pub(super) fn note_serving(serves: bool) {
    SERVES.set(serves);
}

/// Whether who makes the response may go on: all is sent, or, if not `all` has to be, it may be ahead.
fn is_over(exchange: &Exchange, all: bool) -> bool {
    !exchange.is_blocked() || !(all || exchange.is_ahead())
}

impl Server {
    /// Waits up to `limit` for the client to take what waits, while the poller sends it; to be called without the GVL.
    /// `true` when the caller may go on making the response: all is sent, or, if not `all` has to be, it may be ahead.
    ///
    /// # Errors
    ///
    /// The connection is lost; `TimedOut` when the client reads too slowly.
    pub fn wait_for_reader(
        &self,
        connection: &Arc<Connection>,
        limit: Duration,
        all: bool,
    ) -> io::Result<bool> {
        let parking = Arc::new(Parking::default());
        if self.leave_to_poller(connection, Waiter::Thread(Arc::clone(&parking)), all)? {
            return Ok(true);
        }
        // A thread that is none of the pool's takes no place from anybody.
        let is_wanted = !all && SERVES.get();
        if is_wanted {
            self.waiting_for_readers().push(Arc::clone(connection));
        }
        parking.park(Some(limit));
        if is_wanted {
            self.waiting_for_readers().retain(|other| !Arc::ptr_eq(other, connection));
        }
        self.has_caught_up(connection, all)
    }

    /// As [`Server::wait_for_reader`] by a fiber: what it waits for to be readable, and the number by which it heard of the
    /// client until now; `None` when it may go on. Then [`Server::has_waited_in_fiber`] tells.
    ///
    /// # Errors
    ///
    /// As [`Server::wait_for_reader`], or no descriptor is left.
    pub fn wait_in_fiber(
        &self,
        connection: &Arc<Connection>,
        all: bool,
    ) -> io::Result<Option<(OwnedFd, u64)>> {
        let bell = Arc::new(Bell::new()?);
        let descriptor = bell.descriptor().try_clone_to_owned()?;
        // The bell tells it, too, when the client goes.
        let fiber = connection.fiber();
        connection.set_fiber(0);
        let over = self.leave_to_poller(connection, Waiter::Fiber(bell), all)?;
        if over {
            self.watch_client(connection, fiber);
        }
        Ok((!over).then_some((descriptor, fiber)))
    }

    /// As [`Server::has_caught_up`], by the fiber of this number, which has waited.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn has_waited_in_fiber(
        &self,
        connection: &Arc<Connection>,
        all: bool,
        fiber: u64,
    ) -> io::Result<bool> {
        let over = self.has_caught_up(connection, all)?;
        self.watch_client(connection, fiber);
        Ok(over)
    }

    /// Whether the reader of `connection` has taken so much that who makes its response may go on.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn has_caught_up(&self, connection: &Connection, all: bool) -> io::Result<bool> {
        let mut exchange = connection.exchange();
        exchange.flush()?;
        Ok(is_over(&exchange, all))
    }

    /// What is left of the response is sent by the poller, which then tells `waiter`; `true` when that need not be waited
    /// for.
    fn leave_to_poller(&self, connection: &Arc<Connection>, waiter: Waiter, all: bool) -> io::Result<bool> {
        self.check_home()?;
        let mut exchange = connection.exchange();
        exchange.wait_at(waiter);
        // Sends what it can, and tells the waiter if that was all.
        exchange.flush()?;
        if is_over(&exchange, all) {
            return Ok(true);
        }
        if exchange.reader_due(Instant::now(), self.shared.options.write_timeout) <= Instant::now() {
            exchange.cut_off();
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.hand_over(connection, exchange)?;
        Ok(false)
    }

    fn waiting_for_readers(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.waiting_for_readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has waited since the last look, and there is no thread for it: if one waits for a reader, that changes.
    pub(super) fn relieve_of_readers(&self, look: &Look) {
        let all_taken = self.shared.backlog.parked() == 0 && self.is_full();
        let now = Instant::now();
        // In a cluster whose workers are all like this one the request has not even been accepted.
        let is_left = || {
            let least = LONGEST_LEFT.as_millis() as u64;
            self.shared.polling.has_left_one_for(least, self.shared.deadlines.millis(now))
        };
        if !all_taken || !(self.shared.backlog.waits_since(look.since) || is_left()) {
            return;
        }
        let waiting: Vec<_> = self.waiting_for_readers().clone();
        let read = |connection: &Arc<Connection>| connection.try_exchange().and_then(|it| it.reader(now));
        let (waiting, readers): (Vec<_>, Vec<Reader>) =
            waiting.into_iter().filter_map(|connection| read(&connection).map(|it| (connection, it))).unzip();
        let Some(relief) = unread::relieve(&readers, self.shared.unread.has_room()) else { return };
        let (Relief::Cut(at) | Relief::GoOn(at)) = relief;
        let mut exchange = waiting[at].exchange();
        if !exchange.is_waited_with() {
            return; // It has caught up.
        }
        if relief == Relief::GoOn(at) {
            return exchange.go_on_ahead();
        }
        exchange.cut_off();
        self.shared.figures.count_reader_cut();
    }

    /// Octets of responses are to be held; too many wake the poller, which cuts readers off.
    pub(super) fn note_unread(&self) {
        if self.shared.unread.excess() > 0 {
            self.shared.wake_poller();
            self.shared.monitor.hurry();
        }
    }
}
