//! When a waiting connection is given up, and when the server has been idle for too long. In milliseconds of the server's
//! own time, so that they fit into atomics.

use std::time::{Duration, Instant};

use super::{Shared, Status};
use crate::config::options::Options;
use crate::connection::Connection;
use crate::connection::exchange::{Activity, Exchange, LINGER_TIME, Patience};
use crate::connection::ownership::{NEVER, Ownership};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::tuning::TICK;

pub(crate) struct Deadlines {
    epoch: Instant,
    /// The poller looks at all deadlines no later than this.
    next: AtomicU64,
    idle_timeout: Option<u64>,
    /// When there was last a sign of a request.
    last_activity: AtomicU64,
    /// From the idle time-out until the next sign of a request.
    idle: AtomicBool,
    idle_expired: AtomicBool,
    idle_over: AtomicBool,
}

impl Deadlines {
    pub(crate) fn new(idle_timeout: Option<Duration>) -> Self {
        Self {
            epoch: Instant::now(),
            next: AtomicU64::new(NEVER),
            idle_timeout: idle_timeout.map(|timeout| timeout.as_millis() as u64),
            last_activity: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            idle_expired: AtomicBool::new(false),
            idle_over: AtomicBool::new(false),
        }
    }

    pub(crate) fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// The server's time in nanoseconds.
    pub(crate) fn nanos(&self) -> u64 {
        self.nanos_at(Instant::now())
    }

    /// As [`Deadlines::nanos`], at `now`.
    pub(crate) fn nanos_at(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The idle time begins.
    pub(crate) fn begin(&self) {
        if let Some(timeout) = self.idle_timeout {
            self.look_by(timeout);
        }
    }

    /// Sets a connection's deadline. `true` when it is the first that falls due: the caller then looks whether a thread
    /// sleeps in epoll ([`Polling::is_led`](super::polling::Polling)), and wakes it.
    pub(crate) fn set(&self, owner: &Ownership, millis: u64) -> bool {
        owner.set_deadline(millis);
        self.look_by(millis)
    }

    /// The poller looks at all deadlines no later than `millis`. `true` when it would have been later.
    pub(crate) fn look_by(&self, millis: u64) -> bool {
        self.next.fetch_min(millis, Ordering::SeqCst) > millis
    }

    /// When the poller has to look at all deadlines, or [`NEVER`].
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// The poller is about to look at all deadlines, if it has to. What it sees includes every deadline that this forgets;
    /// one that is set later is in [`Deadlines::next`] afterwards.
    pub(crate) fn take_next(&self, millis: u64) -> bool {
        let due = millis >= self.next();
        if due {
            // No plain store: it might overwrite the time of a deadline that the look after it does not see yet.
            self.next.swap(NEVER, Ordering::AcqRel);
        }
        due
    }

    /// Whether the idle time-out has passed, once.
    pub(crate) fn take_idle_expired(&self) -> bool {
        self.idle_expired.swap(false, Ordering::AcqRel)
    }

    /// Whether a request came after all, once.
    pub(crate) fn take_idle_over(&self) -> bool {
        self.idle_over.swap(false, Ordering::AcqRel)
    }
}

/// When the connection of `exchange` is given up; `None` when the deadline that it has stays, if it `has_one`.
fn due(
    exchange: &Exchange,
    options: &Options,
    status: Status,
    has_one: impl Fn() -> bool,
    now: Instant,
) -> Option<Instant> {
    let limit = match exchange.patience {
        Patience::FirstData => options.first_data_timeout,
        Patience::Body => return Some(exchange.body_due(now, options.first_data_timeout)),
        Patience::Stalled => return Some(exchange.reader_due(now, options.write_timeout)),
        Patience::Lingering if status < Status::Draining => return Some(exchange.linger_due(now)),
        Patience::Unchanged | Patience::Lingering if has_one() => return None,
        _ if exchange.may_hurry() && status >= Status::Draining => options.drain_grace,
        _ if exchange.activity() == Activity::Lingering => LINGER_TIME,
        _ if exchange.is_idle() && exchange.served() > 0 => options.persistent_timeout,
        _ => options.first_data_timeout,
    };
    Some(now + limit)
}

impl Shared {
    /// There is a sign of a request.
    pub(crate) fn touch(&self, now: Instant) {
        let times = &self.deadlines;
        times.last_activity.store(times.millis(now), Ordering::Relaxed);
        if times.idle.load(Ordering::Relaxed) && times.idle.swap(false, Ordering::AcqRel) {
            times.idle_over.store(true, Ordering::Release);
            self.threads.manager.wake();
        }
    }

    /// Sets when a waiting connection is given up.
    pub(crate) fn set_deadline(&self, connection: &Connection, exchange: &Exchange, now: Instant) {
        let has_one = || connection.owner.deadline() != NEVER;
        if let Some(due) = due(exchange, &self.options, self.status(), has_one, now) {
            self.deadline_at(connection, due);
        }
    }

    pub(crate) fn deadline_at(&self, connection: &Connection, at: Instant) {
        if self.deadlines.set(&connection.owner, self.deadlines.millis(at)) && self.polling.is_led() {
            // The leader sleeps for longer than this.
            self.wake_poller();
        }
    }

    /// When the idle time-out falls due; notes that it has, if it has and `all_idle`.
    pub(crate) fn idle_deadline(&self, all_idle: impl FnOnce() -> bool, now: Instant) -> u64 {
        let times = &self.deadlines;
        let Some(timeout) = times.idle_timeout else { return NEVER };
        let due = times.last_activity.load(Ordering::Relaxed) + timeout;
        let millis = times.millis(now);
        if millis < due {
            return due;
        }
        if self.threads.busy() == 0 && self.backlog.len() == 0 && self.fiber_work() == 0 && all_idle() {
            if !times.idle.swap(true, Ordering::AcqRel) {
                times.idle_expired.store(true, Ordering::Release);
                self.threads.manager.wake();
            }
            // In a cluster the master decides; until it does, nothing changes.
            return millis + timeout;
        }
        millis + TICK.as_millis() as u64 * 50
    }
}
