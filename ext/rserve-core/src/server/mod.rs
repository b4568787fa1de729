//! One server: what its Ruby threads, its poller and its monitor share.
//!
//! Reading order: [`Server::next`] and [`Server::wait`] are a pool thread's loop, [`Server::write`] and
//! [`Server::finish`] its way to answer; [`Server::manage`] is the loop of the thread that makes the others.

mod abandoned;
mod absence;
mod answer;
mod io_bound;
mod monitor;
mod notice;
mod readers;
pub mod recent;
mod threads;

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Waker};

use crate::cluster::balance::{Gate, LargeTurns, Place};
use crate::config::options::Options;
use crate::connection::exchange::{Exchange, LINGER_TIME, Patience, Phase};
use crate::connection::request::Request;
use crate::connection::unread::Unread;
use crate::connection::{Connection, ConnectionId, NEVER};
use crate::net::listener::Listener;
use crate::net::tls;
use crate::observe::figures::ServerStats;
use crate::poller::{DRAIN_GRACE, Poller};
use crate::pool::backlog::Backlog;
use crate::pool::staffing::PROBE_EVERY;
use crate::pool::{PoolSize, Seat};

pub use io_bound::IoBound;
use monitor::Monitor;
pub use notice::Notice;
use threads::Look;

/// A server's life: `New → Running → Draining → Done`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Status {
    /// Listeners may be added; nothing is accepted.
    New,
    /// Serving.
    Running,
    /// Accepting no more; what was accepted is being answered.
    Draining,
    /// Nothing more is served; threads leave.
    Done,
}

/// What a pool thread does next.
#[expect(clippy::large_enum_variant, reason = "made once for each request and taken apart at once")]
pub enum Next {
    /// Serve this request.
    Serve(Arc<Connection>, Request),
    /// Call [`Server::wait`], without the GVL.
    Wait,
    /// End.
    Leave,
}

/// What the managing thread does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manage {
    /// Start one pool thread; it is counted already.
    Spawn,
    /// Call [`Server::manage_wait`], without the GVL.
    Wait,
    /// No request came for the whole `idle_timeout`. Told once, until [`Manage::IdleOver`].
    IdleTimeout,
    /// A request came after all.
    IdleOver,
    /// It began to drain: whoever else holds the listeners may close them. Said once.
    Drain,
    /// Every connection is gone: join the threads.
    Done,
}

/// Connections that Ruby threads are done with, for the poller.
#[derive(Default)]
pub(crate) struct Returned {
    pub(crate) closed: Vec<ConnectionId>,
    pub(crate) again: Vec<ConnectionId>,
}

impl Returned {
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.again.is_empty()
    }
}

/// See the module.
pub struct Server {
    pub(crate) options: Options,
    poller: Mutex<Poller>,
    registry: Registry,
    waker: Waker,
    pub(crate) backlog: Backlog,
    returned: Mutex<Returned>,
    notices: Mutex<Vec<Notice>>,
    /// Where the other workers of a cluster see how busy this one is.
    place: OnceLock<Place>,
    /// Connections with parts of a response that are held back, for the monitor to send.
    corked: Mutex<Vec<Arc<Connection>>>,
    epoch: Instant,
    /// The process that it was made in ([`crate::sys::forks`]).
    home: u32,
    /// What clients leave unread of their responses.
    pub(crate) unread: Arc<Unread>,
    /// Clients whose responses a pool thread waits with.
    waiting_for_readers: Mutex<Vec<Arc<Connection>>>,
    /// Clients cut off since it was last told.
    pub(crate) readers_cut: AtomicUsize,
    /// Milliseconds after `epoch`; the poller looks at deadlines no later than this.
    pub(crate) next_deadline: AtomicU64,
    /// Milliseconds after `epoch` of the last sign of a request.
    last_activity: AtomicU64,
    /// Turns done so far.
    pub(crate) turns: AtomicU64,
    last_turn: AtomicU64,
    /// A Ruby thread waits in epoll.
    pub(crate) leading: AtomicBool,
    status: AtomicU8,
    evicting: AtomicBool,
    drain_told: AtomicBool,
    handshakes: Arc<tls::Handshakes>,
    /// Connections have more to do that nobody with the GVL should go on with, or than one turn allowed.
    unfinished: AtomicBool,
    /// No request is to be started: something runs that wants the process to itself (`out_of_band`).
    held: AtomicBool,
    /// A request was served since [`Server::hold`] last said yes.
    served_since: AtomicBool,
    monitor: Monitor,
    manager: Seat,
    pub(crate) size: PoolSize,
    spawn_wanted: AtomicBool,
    /// Milliseconds after `epoch` until which no thread is made: none could be.
    short_until: AtomicU64,
    trim_wanted: AtomicUsize,
    idle_expired: AtomicBool,
    /// From the idle time-out until the next sign of a request.
    idle: AtomicBool,
    idle_over: AtomicBool,
    spawned: AtomicUsize,
    busy: AtomicUsize,
    /// Of the busy threads those that have let go of the GVL and do not want it back yet, where that is told, and those
    /// that serve a large request.
    away: AtomicUsize,
    /// How long they were away lately, see [`absence`].
    usual_absence: AtomicU64,
    /// How many absences there were.
    absences: AtomicU64,
    /// See [`crate::pool::staffing::probe_every`].
    probe_every: AtomicU64,
    waiting: AtomicUsize,
    requests_count: AtomicU64,
    /// How many of them were large.
    large_count: AtomicU64,
    /// The most connections that were open at once since the figure was last asked for.
    connections_max: AtomicUsize,
}

impl Server {
    /// A server without listeners. To be made in the process that will run it, after any fork.
    ///
    /// # Errors
    ///
    /// No descriptor is left for epoll.
    pub fn new(options: Options) -> io::Result<Arc<Self>> {
        let (poller, registry, waker) = Poller::new()?;
        let epoch = Instant::now();
        crate::sys::forks::watch();
        Ok(Arc::new(Self {
            monitor: Monitor::default(),
            size: PoolSize::new(&options),
            unread: Arc::new(Unread::new(options.unread_limit)),
            options,
            poller: Mutex::new(poller),
            registry,
            waker,
            backlog: Backlog::default(),
            returned: Mutex::default(),
            notices: Mutex::default(),
            place: OnceLock::new(),
            corked: Mutex::default(),
            waiting_for_readers: Mutex::default(),
            readers_cut: AtomicUsize::new(0),
            epoch,
            home: crate::sys::forks::generation(),
            next_deadline: AtomicU64::new(NEVER),
            last_activity: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            last_turn: AtomicU64::new(0),
            leading: AtomicBool::new(false),
            status: AtomicU8::new(Status::New as u8),
            evicting: AtomicBool::new(false),
            drain_told: AtomicBool::new(false),
            handshakes: Arc::default(),
            unfinished: AtomicBool::new(false),
            held: AtomicBool::new(false),
            served_since: AtomicBool::new(false),
            manager: Seat::default(),
            spawn_wanted: AtomicBool::new(false),
            short_until: AtomicU64::new(0),
            trim_wanted: AtomicUsize::new(0),
            idle_expired: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            idle_over: AtomicBool::new(false),
            spawned: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            away: AtomicUsize::new(0),
            usual_absence: AtomicU64::new(0),
            absences: AtomicU64::new(0),
            probe_every: AtomicU64::new(PROBE_EVERY),
            waiting: AtomicUsize::new(0),
            requests_count: AtomicU64::new(0),
            large_count: AtomicU64::new(0),
            connections_max: AtomicUsize::new(0),
        }))
    }

    /// Accepts on a duplicate of the listening socket `fd` from [`Server::start`] on, with TLS if `tls` says how.
    /// Connections tell the listener's
    /// position in the order of these calls.
    ///
    /// # Errors
    ///
    /// `fd` is not open, or no descriptor is left.
    pub fn add_listener(&self, fd: RawFd, tls: Option<Arc<tls::Context>>) -> io::Result<()> {
        let listener = Listener::duplicate(fd, tls, Arc::clone(&self.handshakes))?;
        self.lock_poller().add_listener(listener)
    }

    /// Takes connections through `gate`, from [`Server::start`] on: the listeners are shared with other workers.
    pub fn add_gate(&self, gate: Gate) {
        let _ = self.place.set(gate.place().clone());
        self.backlog.take_turns(LargeTurns::new(gate.place().clone()));
        self.lock_poller().add_gate(gate);
    }

    /// Begins to serve and starts the monitor, a native thread.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        if self.begin() { self.monitor.start(self) } else { Ok(()) }
    }

    /// `false` when it has begun before.
    pub(crate) fn begin(&self) -> bool {
        let started = self.status.compare_exchange(
            Status::New as u8,
            Status::Running as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if started.is_ok() {
            self.touch(Instant::now());
            if let Some(timeout) = self.options.idle_timeout {
                self.next_deadline.fetch_min(timeout.as_millis() as u64, Ordering::AcqRel);
            }
        }
        started.is_ok()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::New,
            1 => Status::Running,
            2 => Status::Draining,
            _ => Status::Done,
        }
    }

    /// Accepts no more and answers what was accepted.
    pub fn drain(&self) {
        self.advance(Status::Draining);
    }

    /// Serves nothing more; what runs is left to finish, the rest is dropped.
    pub fn halt(&self) {
        self.advance(Status::Done);
    }

    /// Gives up every connection that is not with the application: incomplete requests are answered 408, responses
    /// that are not read are cut off.
    pub fn evict(&self) {
        self.evicting.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }

    pub(crate) fn take_eviction(&self) -> bool {
        self.evicting.swap(false, Ordering::AcqRel)
    }

    /// Whether this process is the one that serves. In a child that an application forked in the middle of a request,
    /// the sockets and locks are the parent's affair: there every method that would touch them does nothing, and pool
    /// threads end.
    pub fn is_at_home(&self) -> bool {
        self.home == crate::sys::forks::generation()
    }

    fn advance(&self, status: Status) {
        if self.is_at_home() && self.status.fetch_max(status as u8, Ordering::AcqRel) < status as u8 {
            self.backlog.wake(usize::MAX);
            let _ = self.waker.wake();
            self.monitor.wake();
            self.manager.wake();
        }
    }

    /// Ends the monitor, and lets go of the sockets. Threads that serve are left alone.
    pub fn join(&self) {
        self.halt();
        self.monitor.join();
        if self.is_at_home() {
            self.lock_poller().let_go();
        }
    }

    /// The counters at this moment, as a reading: what counts "since the last reading" starts anew.
    pub fn take_stats(&self) -> ServerStats {
        let stats = self.stats();
        self.backlog.forget_most();
        self.connections_max.store(0, Ordering::Relaxed);
        stats
    }

    /// The counters at this moment. A thread that stands back for one that computes, or for a large request, counts as
    /// busy with a request of the backlog, as it would be in Puma: whoever scales by these figures sees the same load.
    pub fn stats(&self) -> ServerStats {
        let running = self.spawned.load(Ordering::Acquire);
        let serving = self.busy.load(Ordering::Acquire);
        let kept = self.backlog.kept();
        let waiting = self.backlog.len() + kept;
        let idle = running.saturating_sub(serving);
        let standing_back = if self.options.suspensions_told { waiting.min(idle) } else { kept.min(idle) };
        let (busy, backlog) = (serving + standing_back, waiting - standing_back);
        let waiting = running.saturating_sub(busy);
        ServerStats {
            backlog: backlog as u64,
            backlog_max: self.backlog.most() as u64,
            busy_threads: busy as u64,
            io_threads: self.size.io_bound() as u64,
            max_threads: self.size.max() as u64,
            pool_capacity: (waiting + self.size.limit().saturating_sub(running)) as u64,
            reactor_max: self.connections_max.load(Ordering::Relaxed) as u64,
            requests_count: self.requests_count.load(Ordering::Relaxed),
            running: running as u64,
            tls_failed: self.handshakes.failed(),
            tls_handshakes: self.handshakes.finished(),
            tls_microseconds: u64::try_from(self.handshakes.cost().as_micros()).unwrap_or(u64::MAX),
            tls_resumed: self.handshakes.resumed(),
        }
    }

    /// So many connections are open now.
    pub(crate) fn note_connections(&self, open: usize) {
        self.connections_max.fetch_max(open, Ordering::Relaxed);
    }

    /// Whether a thread without the GVL is to go on polling soon.
    pub(crate) fn note_unfinished(&self, wait: bool) {
        // Most servers have none, and this word would travel between processors for nothing.
        if self.unfinished.load(Ordering::Relaxed) != wait {
            self.unfinished.store(wait, Ordering::SeqCst);
            if wait {
                self.monitor.hurry();
            }
        }
    }

    /// See [`Server::note_unfinished`].
    pub(crate) fn have_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::SeqCst)
    }

    /// Whether [`Server::take_notices`] has something.
    pub fn has_notices(&self) -> bool {
        !self.notices.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What should be logged since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn lock_poller(&self) -> MutexGuard<'_, Poller> {
        self.poller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_poller(&self) -> Option<MutexGuard<'_, Poller>> {
        match self.poller.try_lock() {
            Ok(poller) => Some(poller),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn corked(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.corked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn returned(&self) -> MutexGuard<'_, Returned> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64
    }

    pub(crate) fn touch(&self, now: Instant) {
        self.last_activity.store(self.millis(now), Ordering::Relaxed);
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::AcqRel) {
            self.idle_over.store(true, Ordering::Release);
            self.manager.wake();
        }
    }

    pub(crate) fn notify(&self, notice: Notice) {
        tracing::warn!(peer = notice.peer().map(tracing::field::display), "{notice}");
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody reads a thousand copies of the same line.
        if notices.len() < 8 {
            notices.push(notice);
        }
        drop(notices);
        // The managing thread may be the one that polls.
        self.manager.interrupt();
    }

    /// Requests that a thread is serving, or that wait for one.
    pub(crate) fn work(&self) -> usize {
        self.busy.load(Ordering::Acquire) + self.backlog.len() + self.backlog.kept()
    }

    /// The poller may sleep for long, so what it shows the other workers before is kept true by the threads.
    pub(crate) fn show_work(&self) {
        if let Some(place) = self.place.get() {
            place.show_work(|| self.shown_work());
        }
    }

    /// What the other workers see of it: large requests that are kept, and those that only wait, take no thread from
    /// anybody, unless they keep this one from accepting.
    pub(crate) fn shown_work(&self) -> usize {
        let kept = if self.options.queue_requests { 0 } else { self.backlog.kept() };
        let busy = self.busy.load(Ordering::Acquire).saturating_sub(self.size.beyond());
        busy + self.backlog.len() + kept
    }

    /// Requests that threads have begun so far.
    pub(crate) fn requests_begun(&self) -> u64 {
        self.requests_count.load(Ordering::Relaxed)
    }

    /// How many of them were large.
    pub(crate) fn large_begun(&self) -> u64 {
        self.large_count.load(Ordering::Relaxed)
    }

    pub(crate) fn may_accept(&self) -> bool {
        if self.held.load(Ordering::Acquire) {
            return false;
        }
        if self.options.queue_requests {
            return true;
        }
        self.work() < self.size.limit()
    }

    /// Makes `exchange`'s socket known to epoll, for every edge; does nothing when it is.
    pub(crate) fn register(&self, connection: &Connection, exchange: &mut Exchange) -> io::Result<()> {
        if exchange.registered {
            return Ok(());
        }
        if let Some(stream) = exchange.stream() {
            let fd = stream.as_fd().as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.registry.register(&mut SourceFd(&fd), connection.id().token(), interest)?;
            exchange.registered = true;
        }
        Ok(())
    }

    /// Ends what [`Server::register`] began.
    pub(crate) fn deregister(&self, exchange: &Exchange) {
        if exchange.registered
            && let Some(stream) = exchange.stream()
        {
            let fd = stream.as_fd().as_raw_fd();
            let _ = self.registry.deregister(&mut SourceFd(&fd));
        }
    }

    /// Sets when a waiting connection is given up.
    pub(crate) fn set_deadline(&self, connection: &Connection, exchange: &Exchange, now: Instant) {
        let limit = match exchange.patience {
            Patience::FirstData => self.options.first_data_timeout,
            Patience::Body => {
                let due = exchange.body_due(now, self.options.first_data_timeout);
                return self.deadline_at(connection, due);
            }
            Patience::Stalled => {
                let due = exchange.reader_due(now, self.options.write_timeout);
                return self.deadline_at(connection, due);
            }
            Patience::Lingering if self.status() < Status::Draining => {
                return self.deadline_at(connection, exchange.linger_due(now));
            }
            Patience::Unchanged | Patience::Lingering
                if connection.deadline.load(Ordering::Relaxed) != NEVER =>
            {
                return;
            }
            _ if exchange.may_hurry() && self.status() >= Status::Draining => DRAIN_GRACE,
            _ if exchange.phase() == Phase::Lingering => LINGER_TIME,
            _ if exchange.is_idle() && exchange.served() > 0 => self.options.persistent_timeout,
            _ => self.options.first_data_timeout,
        };
        self.deadline_at(connection, now + limit);
    }

    pub(crate) fn deadline_at(&self, connection: &Connection, at: Instant) {
        let millis = self.millis(at);
        connection.deadline.store(millis, Ordering::Relaxed);
        let before = self.next_deadline.fetch_min(millis, Ordering::AcqRel);
        if millis < before && self.leading.load(Ordering::Acquire) {
            // The leader sleeps for longer than this.
            let _ = self.waker.wake();
        }
    }

    /// When the idle time-out falls due; notes that it has, if it has and `all_idle`.
    pub(crate) fn idle_deadline(&self, all_idle: impl FnOnce() -> bool, now: Instant) -> u64 {
        let Some(timeout) = self.options.idle_timeout else { return NEVER };
        let timeout = timeout.as_millis() as u64;
        let due = self.last_activity.load(Ordering::Relaxed) + timeout;
        let millis = self.millis(now);
        if millis < due {
            return due;
        }
        if self.busy.load(Ordering::Acquire) == 0 && self.backlog.len() == 0 && all_idle() {
            if !self.idle.swap(true, Ordering::AcqRel) {
                self.idle_expired.store(true, Ordering::Release);
                self.manager.wake();
            }
            // In a cluster the master decides; until it does, nothing changes.
            return millis + timeout;
        }
        millis + crate::pool::staffing::TICK.as_millis() as u64 * 50
    }

    pub(crate) fn check_drained(&self, connections: usize) {
        if connections == 0 && self.backlog.len() == 0 && self.busy.load(Ordering::Acquire) == 0 {
            self.advance(Status::Done);
        }
    }
}

#[cfg(test)]
mod tests;
