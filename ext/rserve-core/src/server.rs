//! One server: what its Ruby threads, its poller and its monitor share.
//!
//! Reading order: [`Server::next`] and [`Server::wait`] are a pool thread's loop, [`Server::write`] and
//! [`Server::finish`] its way to answer; [`Server::manage`] is the loop of the thread that makes the others.

use std::io::{self, IoSlice};
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use mio::{Registry, Waker};
use nix::errno::Errno;

use crate::backlog::{Backlog, Seat};
use crate::connection::{Connection, ConnectionId, NEVER, READABLE};
use crate::exchange::{AfterSending, Exchange, Outcome, Patience, Phase, Request};
use crate::listener::Listener;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::reactor::{DRAIN_GRACE, Reactor};
use crate::thread_pool;

/// How long a refused client may take to read its answer.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A pool thread polls at least this often, however many requests are ready: a client that pipelines must not keep the
/// queue full and everybody else out.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// How soon a thread looks again whether requests may be started.
const HELD_PAUSE: Duration = Duration::from_millis(1);

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

/// Something an operator should hear of; the bridge logs it.
#[derive(Debug)]
pub enum Notice {
    /// No connection can be taken at the moment.
    AcceptFailed(Errno),
    /// epoll itself failed.
    PollFailed(io::Error),
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
    /// No request came for the whole `idle_timeout`.
    IdleTimeout,
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

/// Counters of one server, as Puma's `stats` names them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Complete requests that wait for a thread.
    pub backlog: usize,
    /// Threads that exist.
    pub running: usize,
    /// Requests that could be taken on at once.
    pub pool_capacity: usize,
    /// Threads that are serving.
    pub busy_threads: usize,
    /// Threads that may exist.
    pub max_threads: usize,
    /// Requests handed to the application since the start.
    pub requests_count: u64,
}

/// See the module.
pub struct Server {
    pub(crate) options: Options,
    reactor: Mutex<Reactor>,
    registry: Registry,
    waker: Waker,
    pub(crate) backlog: Backlog,
    returned: Mutex<Returned>,
    notices: Mutex<Vec<Notice>>,
    epoch: Instant,
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
    /// No request is to be started: something runs that wants the process to itself (`out_of_band`).
    held: AtomicBool,
    monitor: Monitor,
    manager: Seat,
    spawn_wanted: AtomicBool,
    trim_wanted: AtomicUsize,
    idle_expired: AtomicBool,
    spawned: AtomicUsize,
    busy: AtomicUsize,
    waiting: AtomicUsize,
    requests_count: AtomicU64,
}

impl Server {
    /// A server without listeners. To be made in the process that will run it, after any fork.
    ///
    /// # Errors
    ///
    /// No descriptor is left for epoll.
    pub fn new(options: Options) -> io::Result<Arc<Self>> {
        let (reactor, registry, waker) = Reactor::new()?;
        let epoch = Instant::now();
        Ok(Arc::new(Self {
            options,
            reactor: Mutex::new(reactor),
            registry,
            waker,
            backlog: Backlog::default(),
            returned: Mutex::default(),
            notices: Mutex::default(),
            epoch,
            next_deadline: AtomicU64::new(NEVER),
            last_activity: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            last_turn: AtomicU64::new(0),
            leading: AtomicBool::new(false),
            status: AtomicU8::new(Status::New as u8),
            evicting: AtomicBool::new(false),
            drain_told: AtomicBool::new(false),
            held: AtomicBool::new(false),
            monitor: Monitor::default(),
            manager: Seat::default(),
            spawn_wanted: AtomicBool::new(false),
            trim_wanted: AtomicUsize::new(0),
            idle_expired: AtomicBool::new(false),
            spawned: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            requests_count: AtomicU64::new(0),
        }))
    }

    /// Accepts on a duplicate of the listening socket `fd` from [`Server::start`] on. Connections tell the listener's
    /// position in the order of these calls.
    ///
    /// # Errors
    ///
    /// `fd` is not open, or no descriptor is left.
    pub fn add_listener(&self, fd: RawFd) -> io::Result<()> {
        let listener = Listener::duplicate(fd)?;
        self.lock_reactor().add_listener(listener)
    }

    /// Begins to serve and starts the monitor, a native thread.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        let started = self.status.compare_exchange(
            Status::New as u8,
            Status::Running as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if started.is_err() {
            return Ok(());
        }
        self.touch(Instant::now());
        if let Some(timeout) = self.options.idle_timeout {
            self.next_deadline.fetch_min(timeout.as_millis() as u64, Ordering::AcqRel);
        }
        self.monitor.start(self)
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

    fn advance(&self, status: Status) {
        if self.status.fetch_max(status as u8, Ordering::AcqRel) < status as u8 {
            self.backlog.wake(usize::MAX);
            let _ = self.waker.wake();
            self.monitor.wake();
            self.manager.wake();
        }
    }

    /// Ends the monitor, once no thread serves any more.
    pub fn join(&self) {
        self.halt();
        self.monitor.join();
    }

    /// The counters at this moment.
    pub fn stats(&self) -> Stats {
        let max_threads = self.options.max_threads;
        let running = self.spawned.load(Ordering::Acquire);
        let busy = self.busy.load(Ordering::Acquire);
        let backlog = self.backlog.len();
        let waiting = running.saturating_sub(busy);
        Stats {
            backlog,
            running,
            pool_capacity: waiting + max_threads.saturating_sub(running),
            busy_threads: busy,
            max_threads,
            requests_count: self.requests_count.load(Ordering::Relaxed),
        }
    }

    /// Whether [`Server::take_notices`] has something.
    pub fn has_notices(&self) -> bool {
        !self.notices.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What should be logged since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // ---- a pool thread ------------------------------------------------------------------------------------------

    /// What the calling pool thread does next; to be called with the GVL held. Never waits.
    pub fn next(&self) -> Next {
        let now = Instant::now();
        let millis = self.millis(now);
        let overdue = millis > self.last_turn.load(Ordering::Relaxed) + POLL_EVERY.as_millis() as u64;
        if (self.backlog.len() == 0 || overdue)
            && self.status() < Status::Done
            && let Some(mut reactor) = self.try_reactor()
        {
            self.last_turn.store(millis, Ordering::Relaxed);
            reactor.turn(self, Some(Duration::ZERO));
        }
        if self.status() < Status::Done
            && let Some(connection) = self.pop()
        {
            let request = connection.exchange().take_request();
            if request.refusal.is_none() {
                self.requests_count.fetch_add(1, Ordering::Relaxed);
            }
            return Next::Serve(connection, request);
        }
        if self.status() == Status::Done || self.take_trim() { Next::Leave } else { Next::Wait }
    }

    /// The oldest request, whose server the caller is from then on counted among.
    fn pop(&self) -> Option<Arc<Connection>> {
        if self.backlog.len() == 0 {
            return None;
        }
        // Counted before the look at `held`, as `hold` looks at the count after setting it: one sees the other.
        self.busy.fetch_add(1, Ordering::SeqCst);
        let connection = match self.held.load(Ordering::SeqCst) {
            true => None,
            false => self.backlog.pop(),
        };
        if connection.is_none() {
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
        connection
    }

    /// Keeps requests from being started, if none is being served: `false` when one is, and then nothing is kept.
    pub fn hold(&self) -> bool {
        if self.held.swap(true, Ordering::SeqCst) {
            return false;
        }
        let alone = self.busy.load(Ordering::SeqCst) == 0;
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
        if self.held.load(Ordering::SeqCst) {
            seat.park(Some(HELD_PAUSE));
        } else if let Some(reactor) = self.try_reactor() {
            self.lead(reactor, seat, None);
        } else {
            self.backlog.wait(seat, || self.may_wait());
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn may_wait(&self) -> bool {
        self.status() < Status::Done && self.trim_wanted.load(Ordering::Acquire) == 0
    }

    fn lead(&self, mut reactor: MutexGuard<'_, Reactor>, seat: &Seat, until: Option<Instant>) {
        self.leading.store(true, Ordering::Release);
        while self.backlog.len() == 0 && !seat.is_interrupted() && self.may_wait() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            reactor.turn(self, left);
        }
        drop(reactor);
        self.leading.store(false, Ordering::Release);
        self.monitor.rouse();
    }

    /// Makes [`Server::wait`] or [`Server::manage_wait`] by the thread of `seat` return; may be called from anywhere.
    pub fn interrupt(&self, seat: &Seat) {
        seat.interrupt();
        let _ = self.waker.wake();
    }

    /// The calling thread is done with a request that [`Server::next`] gave it, with its hooks and all.
    pub fn served(&self) {
        if self.busy.fetch_sub(1, Ordering::AcqRel) == 1 && self.status() == Status::Draining {
            let _ = self.waker.wake();
        }
    }

    /// Gives the buffers of a request back to its connection, for the next one.
    pub fn recycle(&self, connection: &Connection, request: Request) {
        connection.exchange().recycle(request);
    }

    /// Whether [`Server::interrupt`] was called for `seat` since the last time.
    pub fn take_interrupt(&self, seat: &Seat) -> bool {
        seat.take_interrupt()
    }

    /// Whether another thread than the caller is in the middle of a request, and would like its turn.
    pub fn others_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// The calling thread ends.
    pub fn leave(&self) {
        self.spawned.fetch_sub(1, Ordering::AcqRel);
        self.manager.wake();
    }

    // ---- answering ----------------------------------------------------------------------------------------------

    /// Sends a part of the response to `connection`, whose request the caller is serving, without ever waiting. Gives
    /// the octets that wait in memory for the socket: a caller that has more to send should let them go down first
    /// ([`Server::wait_writable`]).
    ///
    /// # Errors
    ///
    /// The connection is lost; [`Server::finish`] is still to be called.
    pub fn write(&self, connection: &Connection, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut exchange = connection.exchange();
        exchange.write(slices, &self.options)?;
        Ok(exchange.waiting())
    }

    /// Queues `len` octets of `file` from `offset`, after what was written before.
    pub fn write_file(&self, connection: &Connection, file: std::fs::File, offset: u64, len: u64) {
        connection.exchange().write_file(file, offset, len);
    }

    /// Waits up to `limit` for the client to take what waits, and sends it; to be called without the GVL. Gives the
    /// octets that still wait in memory.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn wait_writable(&self, connection: &Connection, limit: Duration) -> io::Result<usize> {
        let mut exchange = connection.exchange();
        if let Some(stream) = exchange.stream() {
            let millis = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
            crate::sys::wait_writable(std::os::fd::AsFd::as_fd(stream), millis)?;
        }
        exchange.flush()?;
        Ok(exchange.waiting())
    }

    /// The response to `connection` is complete, or as complete as it will get: the caller lets go of the connection.
    /// What is still to be sent goes to the poller. May be called once for each request, from any thread.
    pub fn finish(&self, connection: &Arc<Connection>, after: AfterSending) {
        let now = Instant::now();
        self.touch(now);
        let mut exchange = connection.exchange();
        exchange.finish(after);
        loop {
            if connection.take_edges() & READABLE != 0 {
                exchange.readable();
            }
            let mut outcome = exchange.progress(&self.options, now);
            if matches!(outcome, Outcome::Wait | Outcome::Again)
                && self.register(connection, &mut exchange).is_err()
            {
                outcome = Outcome::Close;
            }
            match outcome {
                Outcome::Queue => {
                    drop(exchange);
                    self.backlog.push(Arc::clone(connection), now);
                    return;
                }
                Outcome::Wait | Outcome::Again => {
                    self.set_deadline(connection, &exchange, now);
                    if !connection.release() {
                        continue;
                    }
                    if outcome == Outcome::Again {
                        self.returned().again.push(connection.id());
                        let _ = self.waker.wake();
                    }
                    return;
                }
                Outcome::Close => {
                    exchange.close();
                    drop(exchange);
                    self.returned().closed.push(connection.id());
                    if self.status() >= Status::Draining {
                        let _ = self.waker.wake();
                    }
                    return;
                }
            }
        }
    }

    /// Gives the connection's socket to the caller for good, with the octets that were read beyond the request.
    /// `None` when it is gone already. [`Server::finish`] is still to be called, and then touches nothing.
    pub fn hijack(&self, connection: &Connection) -> Option<(OwnedFd, Vec<u8>)> {
        let mut exchange = connection.exchange();
        if exchange.registered
            && let Some(stream) = exchange.stream()
        {
            use std::os::fd::{AsFd, AsRawFd};
            let fd = stream.as_fd().as_raw_fd();
            let _ = self.registry.deregister(&mut mio::unix::SourceFd(&fd));
        }
        let (stream, rest) = exchange.hijack()?;
        Some((stream.into_fd(), rest))
    }

    /// A duplicate of the connection's socket, for an application that wants to look at it.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or the connection is closed (`EBADF`).
    pub fn duplicate_socket(&self, connection: &Connection) -> io::Result<OwnedFd> {
        use std::os::fd::{AsFd, AsRawFd};
        let exchange = connection.exchange();
        let stream = exchange.stream().ok_or_else(|| io::Error::from(Errno::EBADF))?;
        crate::sys::duplicate(stream.as_fd().as_raw_fd())
    }

    /// Whether a response may keep its connection open: not while stopping, and not for ever.
    pub fn may_keep_alive(&self, request: &Request) -> bool {
        self.options.enable_keep_alives
            && self.options.queue_requests
            && self.status() == Status::Running
            && self.options.max_keep_alive.is_none_or(|most| request.serial + 1 < most)
    }

    // ---- the managing thread ------------------------------------------------------------------------------------

    /// What the managing thread does next; never waits.
    pub fn manage(&self) -> Manage {
        if self.status() == Status::Done {
            return Manage::Done;
        }
        if self.status() == Status::Draining && !self.drain_told.swap(true, Ordering::AcqRel) {
            return Manage::Drain;
        }
        let spawned = self.spawned.load(Ordering::Acquire);
        let wanted = self.spawn_wanted.swap(false, Ordering::AcqRel);
        if spawned < self.options.min_threads || (wanted && spawned < self.options.max_threads) {
            self.spawned.fetch_add(1, Ordering::AcqRel);
            return Manage::Spawn;
        }
        if self.idle_expired.swap(false, Ordering::AcqRel) {
            return Manage::IdleTimeout;
        }
        Manage::Wait
    }

    /// Waits until [`Server::manage`] has something new to say, at most `limit`; to be called without the GVL.
    pub fn manage_wait(&self, limit: Duration) {
        if self.spawned.load(Ordering::Acquire) > 0 || self.spawn_wanted.load(Ordering::Acquire) {
            self.manager.park(Some(limit));
        } else if let Some(reactor) = self.try_reactor() {
            // No thread yet: somebody must notice the first request.
            self.lead(reactor, &self.manager, Some(Instant::now() + limit));
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

    /// Lets one idle thread go, if there are more than `min_threads` (Puma's trimmer); `force` also when all are busy.
    pub fn trim(&self, force: bool) {
        let spawned =
            self.spawned.load(Ordering::Acquire).saturating_sub(self.trim_wanted.load(Ordering::Acquire));
        let idle = if force { 1 } else { self.waiting.load(Ordering::Acquire) };
        if thread_pool::may_trim(spawned, idle, self.backlog.len(), self.options.min_threads) {
            self.trim_wanted.fetch_add(1, Ordering::AcqRel);
            self.backlog.wake(1);
            let _ = self.waker.wake();
        }
    }

    fn take_trim(&self) -> bool {
        self.trim_wanted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |wanted| wanted.checked_sub(1))
            .is_ok()
    }

    // ---- the monitor --------------------------------------------------------------------------------------------

    /// One look of the monitor; see [`thread_pool`]. `turns` is the count of turns at the last look.
    pub(crate) fn tick(&self, turns: u64, since: Instant) {
        let polled = self.turns.load(Ordering::Acquire) != turns;
        if !polled && let Some(mut reactor) = self.try_reactor() {
            reactor.turn(self, Some(Duration::ZERO));
        }
        let load = thread_pool::Load {
            polled,
            ready: self.backlog.len(),
            stale: self.backlog.waits_since(since),
            parked: self.backlog.parked(),
            spawned: self.spawned.load(Ordering::Acquire),
            max_threads: self.options.max_threads,
        };
        let call = load.call();
        if call.wake > 0 {
            self.backlog.wake(call.wake);
        }
        if call.spawn {
            self.spawn_wanted.store(true, Ordering::Release);
            self.manager.wake();
        }
    }

    // ---- shared with the poller ---------------------------------------------------------------------------------

    fn lock_reactor(&self) -> MutexGuard<'_, Reactor> {
        self.reactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_reactor(&self) -> Option<MutexGuard<'_, Reactor>> {
        match self.reactor.try_lock() {
            Ok(reactor) => Some(reactor),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn returned(&self) -> MutexGuard<'_, Returned> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64
    }

    pub(crate) fn touch(&self, now: Instant) {
        self.last_activity.store(self.millis(now), Ordering::Relaxed);
    }

    pub(crate) fn notify(&self, notice: Notice) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody reads a thousand copies of the same line.
        if notices.len() < 8 {
            notices.push(notice);
        }
        drop(notices);
        self.manager.wake();
    }

    pub(crate) fn may_accept(&self) -> bool {
        if self.held.load(Ordering::Acquire) {
            return false;
        }
        if self.options.queue_requests {
            return true;
        }
        self.busy.load(Ordering::Acquire) + self.backlog.len() < self.options.max_threads
    }

    pub(crate) fn register(&self, connection: &Connection, exchange: &mut Exchange) -> io::Result<()> {
        crate::reactor::register(&self.registry, connection.id(), exchange)
    }

    /// Sets when a waiting connection is given up.
    pub(crate) fn set_deadline(&self, connection: &Connection, exchange: &Exchange, now: Instant) {
        let none = connection.deadline.load(Ordering::Relaxed) == NEVER;
        let limit = match exchange.patience {
            Patience::FirstData => self.options.first_data_timeout,
            Patience::Stalled => self.options.write_timeout,
            Patience::Unchanged if !none => return,
            Patience::Unchanged if exchange.may_hurry() && self.status() >= Status::Draining => DRAIN_GRACE,
            Patience::Unchanged if exchange.phase() == Phase::Lingering => LINGER_TIME,
            Patience::Unchanged if exchange.is_idle() && exchange.served() > 0 => {
                self.options.persistent_timeout
            }
            Patience::Unchanged => self.options.first_data_timeout,
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
            self.idle_expired.store(true, Ordering::Release);
            self.manager.wake();
            // In a cluster the master decides; until it does, nothing changes.
            return millis + timeout;
        }
        millis + crate::thread_pool::TICK.as_millis() as u64 * 50
    }

    pub(crate) fn check_drained(&self, connections: usize) {
        if connections == 0 && self.backlog.len() == 0 && self.busy.load(Ordering::Acquire) == 0 {
            self.advance(Status::Done);
        }
    }
}
