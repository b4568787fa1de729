//! Clients that read too slowly, when all of them together leave too much unread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Poller, TELL_EVERY};
use crate::connection::Connection;
use crate::connection::unread::{self, Reader};
use crate::shared::{Notice, Shared};

/// As long as clients leave too much unread, slow readers are looked for this often.
const LOOK_AT_READERS_AGAIN: Duration = Duration::from_millis(50);

impl Poller {
    /// Cuts off the slowest, if clients leave too much unread. Gives when to look again.
    pub(super) fn cut_off_readers(&mut self, shared: &Shared, now: Instant) -> Option<Duration> {
        let excess = shared.unread.excess();
        if excess > 0 {
            self.cut_off_slowest(shared, excess, now);
        }
        self.tell_of_readers(shared, now);
        let looks_again = (shared.unread.excess() > 0).then_some(LOOK_AT_READERS_AGAIN);
        looks_again.or_else(|| (shared.figures.readers_cut() > 0).then_some(TELL_EVERY))
    }

    fn cut_off_slowest(&mut self, shared: &Shared, excess: u64, now: Instant) {
        // Of one whose response just grows somebody else has the exchange: it is looked at next time.
        let read = |connection: &Arc<Connection>| connection.try_exchange().and_then(|it| it.reader(now));
        let behind = self.slots.iter().filter_map(|connection| read(connection).map(|it| (connection, it)));
        let behind = behind.filter(|(_, reader)| reader.held > 0);
        let (connections, readers): (Vec<_>, Vec<Reader>) =
            behind.map(|(connection, reader)| (Arc::clone(connection), reader)).unzip();
        for at in unread::cut_off(&readers, excess, shared.threads.size.max()) {
            self.cut_off_reader(shared, &connections[at]);
        }
    }

    fn cut_off_reader(&mut self, shared: &Shared, connection: &Connection) {
        let Some(mut exchange) = connection.try_exchange() else { return };
        exchange.cut_off();
        shared.figures.count_reader_cut();
        // A thread that makes its response closes it.
        if connection.owner.saw(0) {
            self.close(shared, connection, &mut exchange);
        }
    }

    fn tell_of_readers(&mut self, shared: &Shared, now: Instant) {
        if shared.figures.readers_cut() > 0 && self.told_of_readers_at.is_none_or(|at| now >= at + TELL_EVERY)
        {
            self.told_of_readers_at = Some(now);
            shared.notify(Notice::ReadersCut(shared.figures.take_readers_cut()));
        }
    }
}
