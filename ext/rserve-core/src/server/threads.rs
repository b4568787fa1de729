//! The threads' side of a server: what a pool thread does next, how it waits, when there is one more or one less.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::{Manage, Next, Server, Status, readers};
use crate::connection::Connection;
use crate::connection::request::Request;
use crate::poller::Poller;
use crate::pool::Seat;
use crate::pool::large;
use crate::pool::staffing;

/// A pool thread polls at least this often, however many requests are ready: a client that pipelines must not keep the
/// queue full and everybody else out.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// How soon it is tried again to make a thread when none could be made.
const SHORTAGE: Duration = Duration::from_secs(1);

/// How soon a thread looks again whether requests may be started.
const HELD_PAUSE: Duration = Duration::from_millis(1);

impl Server {
    /// What the calling pool thread does next; to be called with the GVL held. Never waits.
    pub fn next(&self, seat: &Seat) -> Next {
        if !self.is_at_home() {
            return Next::Leave;
        }
        if self.is_shed() {
            seat.rest();
            return Next::Leave;
        }
        if self.stands_back(seat) {
            return self.rest(seat);
        }
        let now = Instant::now();
        let millis = self.millis(now);
        let overdue = millis > self.last_turn.load(Ordering::Relaxed) + POLL_EVERY.as_millis() as u64;
        if (self.backlog.len() == 0 || overdue)
            && self.status() < Status::Done
            && let Some(mut poller) = self.try_poller()
        {
            self.last_turn.store(millis, Ordering::Relaxed);
            poller.glance(self);
        }
        while self.status() < Status::Done
            && let Some(connection) = self.pop(seat)
        {
            if self.is_passed_over(seat, &connection, now) {
                continue;
            }
            let mut exchange = connection.exchange();
            let request = exchange.take_request();
            exchange.begin_access(&request, connection.peer());
            drop(exchange);
            if request.refusal.is_none() {
                self.requests_count.fetch_add(1, Ordering::Relaxed);
                if seat.serves_large() {
                    self.large_count.fetch_add(1, Ordering::Relaxed);
                }
            }
            readers::note_serving(true);
            return Next::Serve(connection, request);
        }
        self.rest(seat)
    }

    fn rest(&self, seat: &Seat) -> Next {
        seat.rest();
        if self.status() == Status::Done || self.take_trim() { Next::Leave } else { Next::Wait }
    }

    /// The oldest request, whose server the caller is from then on counted among.
    fn pop(&self, seat: &Seat) -> Option<Arc<Connection>> {
        if self.backlog.len() == 0 {
            return None;
        }
        // Counted before the look at `held`, as `hold` looks at the count after setting it: one sees the other.
        self.busy.fetch_add(1, Ordering::SeqCst);
        let connection = match self.held.load(Ordering::SeqCst) {
            true => None,
            false => self.backlog.pop(seat),
        };
        if connection.is_none() {
            self.busy.fetch_sub(1, Ordering::SeqCst);
        } else if seat.serves_large() {
            self.away.fetch_add(1, Ordering::SeqCst);
        }
        connection
    }

    /// Keeps requests from being started, if none is being served or waits, but some were since this last said yes.
    /// `false` when there was no reason or is no time for it, and then nothing is kept.
    pub fn hold(&self) -> bool {
        if !self.served_since.load(Ordering::SeqCst) || self.held.swap(true, Ordering::SeqCst) {
            return false;
        }
        let alone = self.work() == 0 && self.served_since.swap(false, Ordering::SeqCst);
        if !alone {
            self.held.store(false, Ordering::SeqCst);
        }
        alone
    }

    /// Ends [`Server::hold`].
    pub fn resume(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Waits until there may be a request, or `seat` is interrupted; to be called *without* the GVL.
    pub fn wait(&self, seat: &Arc<Seat>) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        while !seat.is_interrupted() && self.may_wait() {
            if self.stands_back(seat) {
                // Another thread may sleep in epoll, and then the monitor sleeps, too.
                if self.backlog.len() > 0 {
                    self.monitor.rouse();
                }
                self.backlog.stand_back(seat, || self.may_wait() && self.stands_back(seat));
            } else if self.backlog.len() > 0 {
                break;
            } else if let Some(poller) = self.try_poller() {
                self.lead(poller, seat, None);
            } else {
                // Who is woken without a request is to poll, which needs no GVL.
                self.backlog.wait(seat, || self.may_wait());
            }
        }
        if self.held.load(Ordering::SeqCst) {
            seat.park(Some(HELD_PAUSE));
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn may_wait(&self) -> bool {
        self.status() < Status::Done && self.trim_wanted.load(Ordering::Acquire) == 0
    }

    fn lead(&self, mut poller: MutexGuard<'_, Poller>, seat: &Seat, until: Option<Instant>) {
        // Others who want this processor may be about to send something; who sleeps has to be woken up for it.
        thread::yield_now();
        self.leading.store(true, Ordering::Release);
        while self.backlog.len() == 0 && !seat.is_interrupted() && self.may_wait() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            poller.turn(self, left);
        }
        // Before the next one may set it. SeqCst: the monitor sets `parked` and then looks here; one of the two sees the
        // other.
        self.leading.store(false, Ordering::SeqCst);
        drop(poller);
        self.monitor.rouse();
    }

    /// Makes [`Server::wait`] or [`Server::manage_wait`] by the thread of `seat` return; may be called from anywhere.
    pub fn interrupt(&self, seat: &Seat) {
        seat.interrupt();
        let _ = self.waker.wake();
    }

    /// The calling thread is done with a request that [`Server::next`] gave it, with its hooks and all.
    pub fn served(&self, seat: &Seat) {
        readers::note_serving(false);
        if !self.is_at_home() {
            return;
        }
        if !self.served_since.load(Ordering::Relaxed) {
            self.served_since.store(true, Ordering::SeqCst);
        }
        self.put_down(seat);
    }

    /// Gives the buffers of a request back to its connection, for the next one.
    pub fn recycle(&self, connection: &Connection, request: Request) {
        connection.exchange().recycle(request);
    }

    /// Whether [`Server::interrupt`] was called for `seat` since the last time.
    pub fn take_interrupt(&self, seat: &Seat) -> bool {
        seat.take_interrupt()
    }

    /// Has a thread look for requests, if there are any: for a caller that made one ready and will not serve it.
    pub fn nudge(&self) {
        if self.is_at_home() && self.backlog.len() > 0 {
            let _ = self.waker.wake();
            self.backlog.wake(1);
            self.monitor.hurry();
        }
    }

    /// Whether another thread than the caller is in the middle of a request, and may like its turn. Where absences are
    /// told, the caller stands back if it does.
    pub fn others_busy(&self) -> bool {
        !self.options.suspensions_told && self.busy.load(Ordering::Relaxed) > 0
    }

    /// The calling thread ends.
    pub fn leave(&self) {
        if self.is_at_home() {
            self.spawned.fetch_sub(1, Ordering::AcqRel);
            self.manager.wake();
        }
    }

    /// What the managing thread does next; never waits.
    pub fn manage(&self) -> Manage {
        if self.status() == Status::Done {
            return Manage::Done;
        }
        if self.status() == Status::Draining && !self.drain_told.swap(true, Ordering::AcqRel) {
            return Manage::Drain;
        }
        if !self.is_short() {
            let spawned = self.spawned.load(Ordering::Acquire);
            let wanted = self.spawn_wanted.swap(false, Ordering::AcqRel);
            if spawned < self.size.min() || (wanted && spawned < self.size.limit()) {
                self.spawned.fetch_add(1, Ordering::AcqRel);
                return Manage::Spawn;
            }
        }
        if self.idle_expired.swap(false, Ordering::AcqRel) {
            return Manage::IdleTimeout;
        }
        if self.idle_over.swap(false, Ordering::AcqRel) {
            return Manage::IdleOver;
        }
        Manage::Wait
    }

    /// The thread that [`Manage::Spawn`] wanted cannot be made: the others go on without it, and it is tried again later.
    pub fn spawn_failed(&self) {
        self.short_until.store(self.millis(Instant::now() + SHORTAGE), Ordering::Release);
        self.spawned.fetch_sub(1, Ordering::AcqRel);
        self.spawn_wanted.store(true, Ordering::Release);
    }

    /// No thread can be made at the moment.
    fn is_short(&self) -> bool {
        let until = self.short_until.load(Ordering::Acquire);
        until > 0 && self.millis(Instant::now()) < until
    }

    /// Waits until [`Server::manage`] has something new to say, at most `limit`; to be called without the GVL.
    pub fn manage_wait(&self, limit: Duration) {
        if self.spawned.load(Ordering::Acquire) > 0 || self.is_short() {
            self.manager.park(Some(limit));
        } else if self.spawn_wanted.load(Ordering::Acquire) {
            // The next one is made at once.
        } else if let Some(poller) = self.try_poller() {
            // No thread yet: somebody must notice the first request.
            self.lead(poller, &self.manager, Some(Instant::now() + limit));
            if self.backlog.len() > 0 {
                self.spawn_wanted.store(true, Ordering::Release);
            }
        } else {
            self.manager.park(Some(Duration::from_millis(1)));
        }
        self.manager.take_interrupt();
    }

    /// Makes [`Server::manage_wait`] return.
    pub fn interrupt_manager(&self) {
        self.interrupt(&self.manager);
    }

    /// Every thread that there may be serves.
    pub(super) fn is_full(&self) -> bool {
        let spawned = self.spawned.load(Ordering::Acquire);
        (spawned >= self.size.limit() || self.is_short()) && self.busy.load(Ordering::Acquire) >= spawned
    }

    /// Lets one idle thread go, if there are more than `min_threads` (Puma's trimmer); `force` also when all are busy.
    pub fn trim(&self, force: bool) {
        let spawned =
            self.spawned.load(Ordering::Acquire).saturating_sub(self.trim_wanted.load(Ordering::Acquire));
        let idle = if force { 1 } else { self.waiting.load(Ordering::Acquire) };
        if staffing::may_trim(spawned, idle, self.backlog.len(), self.size.min()) {
            self.trim_wanted.fetch_add(1, Ordering::AcqRel);
            self.backlog.wake(1);
            let _ = self.waker.wake();
        }
    }

    pub(super) fn take_trim(&self) -> bool {
        self.trim_wanted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |wanted| wanted.checked_sub(1))
            .is_ok()
    }

    /// What the monitor sees now, and what has happened since `last`.
    pub(crate) fn look(&self, last: Option<&Look>) -> Look {
        let at = Instant::now();
        let (turns, begun) = (self.turns.load(Ordering::Acquire), self.requests_begun());
        let since = last.map_or(at, |last| last.at);
        let begun_at = last.filter(|last| last.begun == begun).map_or(at, |last| last.begun_at);
        Look { at, since, turns, polled: last.is_some_and(|last| last.turns != turns), begun, begun_at }
    }

    /// Polls if nobody does, and calls threads; see [`staffing`].
    pub(crate) fn tick(&self, look: &Look) {
        if (!look.polled || self.have_unfinished())
            && let Some(mut poller) = self.try_poller()
        {
            poller.turn(self, Some(Duration::ZERO));
            // Nobody else may be there to go on with it.
            self.note_unfinished(poller.has_more());
        }
        let load = staffing::Load {
            polled: look.polled,
            ready: self.backlog.len(),
            stale: self.backlog.waits_since(look.since),
            told: self.options.suspensions_told,
            computing: self.is_computing(),
            stalled: look.at - look.begun_at,
            parked: self.backlog.parked(),
            spawned: self.spawned.load(Ordering::Acquire),
            max_threads: self.size.limit(),
        };
        let call = load.call();
        if call.wake > 0 {
            self.backlog.call(call.wake, call.compete);
        }
        if call.spawn && !self.is_short() {
            self.want_thread();
        }
        self.relieve_of_readers(look);
    }

    /// Whether something is to be done within a tick that nobody but the monitor may see.
    pub(crate) fn needs_monitor(&self) -> bool {
        !self.corked().is_empty() || self.have_unfinished() || self.backlog.has_large()
    }

    /// Lets more or fewer large requests be served at a time, here and in other workers, while there are some: to be
    /// called now and then with what the last call gave.
    pub(crate) fn weigh_large(&self, last: Option<Spent>) -> Option<Spent> {
        if !self.backlog.has_large() {
            return None;
        }
        let now = Spent { at: Instant::now(), cpu: crate::sys::processor_time() };
        let Some(last) = last else { return Some(now) };
        if now.at - last.at < large::INTERVAL {
            return Some(last);
        }
        let load = |allowed, begun_at| large::Load {
            allowed,
            max_threads: self.size.limit(),
            wall: now.at - last.at,
            cpu: now.cpu.saturating_sub(last.cpu),
            stalled: now.at.saturating_duration_since(begun_at),
        };
        if self.backlog.allow_large(load, now.at) {
            self.nudge();
        }
        Some(now)
    }

    pub(super) fn want_thread(&self) {
        self.spawn_wanted.store(true, Ordering::Release);
        self.manager.wake();
    }
}

/// Processor time that the process had used by then.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    at: Instant,
    cpu: Duration,
}

/// See [`Server::look`].
pub(crate) struct Look {
    at: Instant,
    pub(super) since: Instant,
    turns: u64,
    /// Somebody polled between the two looks.
    pub(crate) polled: bool,
    begun: u64,
    begun_at: Instant,
}
