//! Clients that read too slowly, when all of them together leave too much unread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Poller, TELL_EVERY};
use crate::connection::Connection;
use crate::connection::unread::{self, Reader};
use crate::server::{Notice, Server};

/// How soon it is looked again who can be cut off, as long as there is too much.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Poller {
    /// Cuts off the slowest, if clients leave too much unread. Gives when to look again.
    pub(super) fn cut_off_readers(&mut self, server: &Server, now: Instant) -> Option<Duration> {
        let excess = server.unread.excess();
        if excess > 0 {
            self.cut_off_slowest(server, excess, now);
        }
        self.tell_of_readers(server, now);
        let looks_again = (server.unread.excess() > 0).then_some(LOOK_AGAIN);
        looks_again.or_else(|| (server.readers_cut.load(Ordering::Relaxed) > 0).then_some(TELL_EVERY))
    }

    fn cut_off_slowest(&mut self, server: &Server, excess: u64, now: Instant) {
        // Of one whose response just grows somebody else has the exchange: it is looked at next time.
        let read = |connection: &Arc<Connection>| connection.try_exchange().and_then(|it| it.reader(now));
        let behind = self.slots.iter().filter_map(|connection| read(connection).map(|it| (connection, it)));
        let behind = behind.filter(|(_, reader)| reader.held > 0);
        let (connections, readers): (Vec<_>, Vec<Reader>) =
            behind.map(|(connection, reader)| (Arc::clone(connection), reader)).unzip();
        for at in unread::cut_off(&readers, excess, server.size.max()) {
            self.cut_off_reader(server, &connections[at]);
        }
    }

    fn cut_off_reader(&mut self, server: &Server, connection: &Connection) {
        let Some(mut exchange) = connection.try_exchange() else { return };
        exchange.cut_off();
        server.readers_cut.fetch_add(1, Ordering::Relaxed);
        // Who makes its response closes it.
        if connection.saw(0) {
            self.close(connection, &mut exchange);
        }
    }

    fn tell_of_readers(&mut self, server: &Server, now: Instant) {
        if server.readers_cut.load(Ordering::Relaxed) > 0
            && self.told_of_readers_at.is_none_or(|at| now >= at + TELL_EVERY)
        {
            self.told_of_readers_at = Some(now);
            server.notify(Notice::ReadersCut(server.readers_cut.swap(0, Ordering::Relaxed)));
        }
    }
}
