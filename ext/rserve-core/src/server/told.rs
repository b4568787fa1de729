//! What operators see of a server, where they want to: its figures, and each request on its way through a thread.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Server, ServerStats};
use crate::connection::access;
use crate::connection::request::Request;
use crate::pool::Seat;
use crate::telemetry::{Part, Shed, Spent, Timeout, Worker, upstream};

thread_local! {
    /// The calling thread's, if it is one of a pool.
    static SEAT: RefCell<Weak<Seat>> = const { RefCell::new(Weak::new()) };
}

/// How the calling thread has spent its time on the request that it has, if that is known.
pub(super) fn spent() -> Option<Spent> {
    SEAT.with_borrow(Weak::upgrade)?.spent()
}

impl Server {
    /// From now on operators see what it does; to be called before [`Server::start`].
    pub fn tell_in(&self, telemetry: Worker) {
        let _ = self.shared.telemetry.set(telemetry);
        self.show();
    }

    fn telemetry(&self) -> Option<&Worker> {
        self.shared.telemetry.get()
    }

    /// A place for the calling thread, which is one of the pool.
    pub fn seat(&self) -> Arc<Seat> {
        let logged = self.shared.options.suspensions_told && access::is_wanted();
        let seat = Arc::new(Seat::told_in(self.telemetry().and_then(Worker::seat), logged));
        SEAT.set(Arc::downgrade(&seat));
        seat
    }

    /// As [`Server::show`], if the monitor does not soon do so: for what changes with every request.
    pub(super) fn show_soon(&self) {
        if self.telemetry().is_some() && !self.shared.monitor.is_looking() {
            self.show();
        }
    }

    /// Shows the figures as they are now: by the monitor at each look, and by whoever changes what requests do not.
    pub(super) fn show(&self) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.show(|| self.stats().values(), Self::waits);
        }
    }

    /// Whether requests wait for a thread, and whether there is none that could take them.
    fn waits(figures: &[u64; ServerStats::COUNT]) -> (bool, bool) {
        let stats = ServerStats::from_values(*figures);
        (stats.backlog > 0, stats.backlog > 0 && stats.pool_capacity == 0)
    }

    /// Ruby's threads run.
    pub(super) fn beat(&self) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.beat();
        }
    }

    /// The thread of `seat` begins `request` at `now`.
    pub(super) fn tell_begin(&self, seat: &Seat, request: &Request, now: Instant) {
        seat.begin();
        if self.telemetry().is_none() {
            return;
        }
        self.tell_wait(request, now);
        if let Some(row) = seat.row() {
            let octets = request.octets.as_slice();
            row.begin(request.head.method.of(octets), request.head.path.of(octets), now);
        }
        self.show_soon();
    }

    /// `request` is begun at `now`.
    pub(super) fn tell_wait(&self, request: &Request, now: Instant) {
        let Some(telemetry) = self.telemetry() else { return };
        telemetry.part(Part::Queue, nanoseconds(now.saturating_duration_since(request.ready_at)));
        if let Some(waited) = upstream(request, now) {
            telemetry.part(Part::Upstream, nanoseconds(waited));
        }
    }

    /// The thread of `seat` is done with a request.
    pub(super) fn tell_end(&self, seat: &Seat) {
        let (Some(telemetry), Some(row)) = (self.telemetry(), seat.row()) else { return };
        if !self.shared.options.suspensions_told {
            row.rest();
        } else if let Some(spent) = row.end() {
            telemetry.part(Part::Running, spent.running);
            telemetry.part(Part::GvlWait, spent.gvl);
            telemetry.part(Part::IoWait, spent.io);
        }
    }

    /// A request has passed a limit of its time.
    pub(super) fn tell_timeout(&self, limit: Timeout) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.timeout(limit);
        }
    }

    /// A complete request is not given to the application.
    pub(super) fn tell_shed(&self, reason: Shed) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.shed(reason);
        }
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long somebody in front of the server has had `request` before its head was complete here, if that is told.
fn upstream(request: &Request, now: Instant) -> Option<Duration> {
    let octets = request.octets.as_slice();
    let mut fields = request.head.fields.iter();
    let field = fields.find(|field| field.name.of(octets).eq_ignore_ascii_case(upstream::FIELD))?;
    let here = now.saturating_duration_since(request.head_at);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    upstream::age(field.value.of(octets), wall.checked_sub(here)?)
}
