//! The threads' side of a server: what a pool thread does next, how it waits, when there is one more or one less.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::{Lease, Manage, Next, Notice, Server, Status, readers};
use crate::connection::Connection;
use crate::connection::request::Request;
use crate::poller::Poller;
use crate::pool::Seat;
use crate::pool::staffing;
use crate::tuning::SPIN;

/// A pool thread polls at least this often, however many requests are ready: a client that pipelines must not keep the
/// queue full and everybody else out.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// How soon it is tried again to make a thread when none could be made.
const SHORTAGE: Duration = Duration::from_secs(1);

/// How soon a thread looks again whether requests may be started.
const HELD_PAUSE: Duration = Duration::from_millis(1);

impl Server {
    /// What the calling pool thread does next; to be called with the GVL held. Never waits.
    pub fn next(self: &Arc<Self>, seat: &Seat) -> Next {
        if !self.is_at_home() {
            return Next::Leave;
        }
        if self.is_surplus() {
            seat.rest();
            return Next::Leave;
        }
        if self.stands_back(seat) {
            return self.rest(seat);
        }
        let now = Instant::now();
        let millis = self.shared.deadlines.millis(now);
        let overdue =
            millis > self.shared.polling.last_turn.load(Ordering::Relaxed) + POLL_EVERY.as_millis() as u64;
        if (self.shared.backlog.len() == 0 || overdue)
            && self.status() < Status::Done
            && let Some(mut poller) = self.try_poller()
        {
            self.shared.polling.last_turn.store(millis, Ordering::Relaxed);
            poller.light_turn(&self.shared);
        }
        while self.status() < Status::Done
            && let Some(connection) = self.pop(seat, now)
        {
            if self.is_passed_over(seat, &connection, now) {
                continue;
            }
            let request = self.take_request(&connection, seat.serves_large());
            self.tell_begin(seat, &request, now);
            readers::note_serving(true);
            if self.computing() == 1 {
                self.shared
                    .absences
                    .computes_since
                    .store(self.shared.deadlines.nanos_at(now), Ordering::Relaxed);
            }
            return Next::Serve(Lease::new(self, connection, now), request);
        }
        self.rest(seat)
    }

    /// The complete request of `connection`, for the caller to serve.
    #[inline(always)] // a request is large, and not to be copied
    pub(super) fn take_request(&self, connection: &Connection, large: bool) -> Request {
        let mut exchange = connection.exchange();
        let request = exchange.take_request();
        exchange.begin_access(&request, connection.peer());
        drop(exchange);
        if request.refusal.is_none() {
            self.shared.figures.count_request(large);
        }
        request
    }

    fn rest(&self, seat: &Seat) -> Next {
        seat.rest();
        if self.status() == Status::Done || self.shared.threads.take_trim() {
            Next::Leave
        } else {
            Next::Wait
        }
    }

    /// The oldest request; the caller counts as busy with it.
    fn pop(&self, seat: &Seat, now: Instant) -> Option<Arc<Connection>> {
        let threads = &self.shared.threads;
        if self.shared.backlog.len() == 0 {
            return None;
        }
        if !threads.begin() {
            return None;
        }
        let connection = self.shared.backlog.pop(seat, now);
        if self.shared.backlog.has_turned_away() {
            self.shared.monitor.hurry();
        }
        if connection.is_none() {
            threads.end();
        } else if seat.serves_large() {
            self.shared.absences.away.fetch_add(1, Ordering::SeqCst);
        }
        connection
    }

    /// Keeps requests from being started, if none is being served or waits, but some were since this last said yes.
    /// `false` when there was no reason or is no time for it, and then nothing is kept.
    pub fn hold(&self) -> bool {
        self.shared.threads.hold(|| self.shared.work() + self.shared.fiber_work())
    }

    /// Ends [`Server::hold`].
    pub fn resume(&self) {
        self.shared.threads.resume();
    }

    /// Waits until there may be a request, or `seat` is interrupted; to be called *without* the GVL.
    pub fn wait(&self, seat: &Arc<Seat>) {
        let threads = &self.shared.threads;
        threads.waiting.fetch_add(1, Ordering::AcqRel);
        while !seat.is_interrupted() && self.may_wait() {
            if self.stands_back(seat) {
                // Another thread may sleep in epoll, and then the monitor sleeps, too.
                if self.shared.backlog.len() > 0 {
                    self.shared.monitor.rouse();
                }
                self.shared.backlog.stand_back(seat, || self.may_wait() && self.stands_back(seat));
            } else if self.shared.backlog.len() > 0 {
                break;
            } else if let Some(poller) = self.try_poller() {
                self.shared.backlog.arrived(seat);
                self.lead(poller, seat, None);
            } else {
                // A thread that is woken without a request is to poll, which needs no GVL.
                self.shared.backlog.wait(seat, || self.may_wait());
            }
        }
        if threads.is_held() {
            seat.park(Some(HELD_PAUSE));
        }
        threads.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn may_wait(&self) -> bool {
        self.status() < Status::Done && self.shared.threads.leaving() == 0
    }

    fn lead(&self, mut poller: MutexGuard<'_, Poller>, seat: &Seat, until: Option<Instant>) {
        // Clients that wait for this processor may be about to send something; once asleep, this thread would have to be
        // woken for it.
        let mut offer = poller.offers.are_due().then(offer);
        self.shared.polling.lead(true);
        let began = Instant::now();
        if let Some(longest) = &mut offer
            && until.is_none()
            && poller.gaps.are_short()
            && self.shared.threads.busy() == 0
        {
            self.spin(&mut poller, seat, began, longest);
        }
        while self.shared.backlog.len() == 0 && !seat.is_interrupted() && self.may_wait() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            poller.turn(&self.shared, left);
        }
        poller.gaps.note(began.elapsed());
        if let Some(longest) = offer {
            poller.offers.note(longest, self.shared.backlog.len());
        }
        // Before the next one may set it.
        self.shared.polling.lead(false);
        drop(poller);
        self.shared.monitor.rouse();
    }

    /// Polls once or more without sleeping, until [`SPIN`] after `began` or until there is something to do. Whoever else
    /// wants this processor gets it, for so long at most.
    fn spin(&self, poller: &mut Poller, seat: &Seat, began: Instant, longest: &mut Duration) {
        loop {
            poller.turn(&self.shared, Some(Duration::ZERO));
            if self.shared.backlog.len() > 0 || seat.is_interrupted() || began.elapsed() >= SPIN {
                return;
            }
            *longest = offer().max(*longest);
        }
    }

    /// Makes [`Server::wait`] or [`Server::manage_wait`] by the thread of `seat` return; may be called from anywhere.
    pub fn interrupt(&self, seat: &Seat) {
        seat.interrupt();
        self.shared.wake_poller();
    }

    /// The calling thread is done with a request that [`Server::next`] gave it, with its hooks and all.
    pub fn served(&self, seat: &Seat) {
        readers::note_serving(false);
        if !self.is_at_home() {
            return;
        }
        self.shared.threads.note_served();
        self.tell_end(seat);
        self.put_down(seat);
    }

    /// Gives the buffers of a request back to its connection, for the next one.
    pub fn recycle(&self, connection: &Connection, request: &mut Request) {
        connection.exchange().recycle(request);
    }

    /// The thread of `seat` has waited and holds the GVL again: whether [`Server::interrupt`] was called for it since the last
    /// time.
    pub fn take_interrupt(&self, seat: &Seat) -> bool {
        self.shared.backlog.arrived(seat);
        seat.take_interrupt()
    }

    /// Has a thread look for requests, if there are any: for a caller that made one ready and will not serve it.
    pub fn nudge(&self) {
        self.shared.nudge();
    }

    /// Whether another thread than the caller is in the middle of a request, and may like its turn. Where absences are
    /// told, the caller stands back if it does.
    pub fn others_busy(&self) -> bool {
        !self.shared.options.suspensions_told && self.shared.threads.busy() > 0
    }

    /// The calling thread ends.
    pub fn leave(&self) {
        if self.is_at_home() {
            self.shared.threads.spawned.fetch_sub(1, Ordering::AcqRel);
            self.show();
            self.shared.threads.manager.wake();
        }
    }

    /// What the managing thread does next; never waits.
    pub fn manage(&self) -> Manage {
        let threads = &self.shared.threads;
        self.beat();
        if self.status() == Status::Done {
            return Manage::Done;
        }
        let now = Instant::now();
        if let Some(stall) = self.shared.calls.stall(now) {
            self.shared.notify(Notice::Stalled(stall));
        }
        if self.shared.calls.has_late(now) {
            return Manage::Late;
        }
        if self.shared.life.begins_to_drain() {
            return Manage::Drain;
        }
        if !self.is_short() {
            let spawned = threads.spawned.load(Ordering::Acquire);
            let wanted = threads.spawn_wanted.swap(false, Ordering::AcqRel);
            if spawned < threads.size.min() || (wanted && spawned < threads.size.limit()) {
                threads.spawned.fetch_add(1, Ordering::AcqRel);
                self.show();
                return Manage::Spawn;
            }
        }
        if self.shared.deadlines.take_idle_expired() {
            return Manage::IdleTimeout;
        }
        if self.shared.deadlines.take_idle_over() {
            return Manage::IdleOver;
        }
        Manage::Wait
    }

    /// The thread that [`Manage::Spawn`] wanted cannot be made: the others go on without it, and it is tried again later.
    pub fn spawn_failed(&self) {
        self.shared
            .threads
            .short_until
            .store(self.shared.deadlines.millis(Instant::now() + SHORTAGE), Ordering::Release);
        self.shared.threads.spawned.fetch_sub(1, Ordering::AcqRel);
        self.shared.threads.spawn_wanted.store(true, Ordering::Release);
    }

    /// No thread can be made at the moment.
    pub(super) fn is_short(&self) -> bool {
        let until = self.shared.threads.short_until.load(Ordering::Acquire);
        until > 0 && self.shared.deadlines.millis(Instant::now()) < until
    }

    /// Waits until [`Server::manage`] has something new to say, at most `limit`; to be called without the GVL.
    pub fn manage_wait(&self, limit: Duration) {
        let threads = &self.shared.threads;
        if threads.spawned.load(Ordering::Acquire) > 0 || self.is_short() {
            threads.manager.park(Some(limit));
        } else if threads.spawn_wanted.load(Ordering::Acquire) {
            // The next one is made at once.
        } else if let Some(poller) = self.try_poller() {
            // No thread yet: somebody must notice the first request.
            self.lead(poller, &threads.manager, Some(Instant::now() + limit));
            if self.shared.backlog.len() > 0 {
                threads.spawn_wanted.store(true, Ordering::Release);
            }
        } else {
            threads.manager.park(Some(Duration::from_millis(1)));
        }
        threads.manager.take_interrupt();
    }

    /// Makes [`Server::manage_wait`] return.
    pub fn interrupt_manager(&self) {
        self.interrupt(&self.shared.threads.manager);
    }

    /// Every thread that there may be serves.
    pub(super) fn is_full(&self) -> bool {
        let threads = &self.shared.threads;
        let spawned = threads.spawned.load(Ordering::Acquire);
        (spawned >= threads.size.limit() || self.is_short()) && threads.busy() >= spawned
    }

    /// Lets one idle thread go, if there are more than `min_threads` (Puma's trimmer); `force` also when all are busy.
    pub fn trim(&self, force: bool) {
        let threads = &self.shared.threads;
        let spawned = self.shared.threads.spawned.load(Ordering::Acquire).saturating_sub(threads.leaving());
        let idle = if force { 1 } else { threads.waiting.load(Ordering::Acquire) };
        if staffing::may_trim(spawned, idle, self.shared.backlog.len(), threads.size.min()) {
            threads.ask_to_leave(1);
            self.shared.backlog.wake(1);
            self.shared.wake_poller();
        }
    }
}

/// Lets whoever wants this processor have it: for how long.
fn offer() -> Duration {
    let began = Instant::now();
    thread::yield_now();
    began.elapsed()
}
