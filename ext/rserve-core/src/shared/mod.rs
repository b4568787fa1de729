//! What the poller, the threads and the monitor of one server share, in parts by what they are. The poller is given this
//! and nothing else of the server that it belongs to.

mod absences;
mod calls;
mod deadlines;
mod figures;
mod files;
mod life;
mod monitor_bell;
mod notice;
mod polling;
mod threads;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Waker};

use crate::cluster::balance::Place;
use crate::config::options::Options;
use crate::connection::exchange::{Exchange, Outcome};
use crate::connection::ownership::Ownership;
use crate::connection::unread::Unread;
use crate::connection::{Connection, ConnectionId};
use crate::content::Site;
use crate::pool::backlog::Backlog;
use crate::pool::fiber_lane::FiberLane;
use crate::pool::large;
use crate::pool::queue::Entry;
use crate::telemetry::{self, WorkerState};

pub(crate) use absences::Absences;
use calls::Calls;
pub use calls::Late;
pub(crate) use deadlines::Deadlines;
use figures::Figures;
use life::Life;
pub use life::Status;
pub(crate) use monitor_bell::MonitorBell;
pub use notice::Notice;
use notice::Notices;
pub(crate) use polling::Polling;
pub(crate) use threads::Threads;

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
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) life: Life,
    pub(crate) deadlines: Deadlines,
    pub(crate) polling: Polling,
    pub(crate) threads: Threads,
    pub(crate) absences: Absences,
    pub(crate) figures: Figures,
    pub(crate) calls: Calls,
    pub(crate) notices: Notices,
    pub(crate) backlog: Backlog,
    /// Requests that fibers serve, if any are.
    pub(crate) fiber_lane: Option<FiberLane>,
    /// What clients leave unread of their responses.
    pub(crate) unread: Arc<Unread>,
    pub(crate) monitor: Arc<MonitorBell>,
    /// Files that are answered with before the backlog.
    site: Option<Site>,
    /// Where the other workers of a cluster see how busy this one is.
    pub(crate) place: OnceLock<Place>,
    /// Where operators see what it does, if they want to.
    pub(crate) telemetry: OnceLock<telemetry::Worker>,
    returned: Mutex<Returned>,
    registry: Registry,
    waker: Waker,
}

impl Shared {
    /// `registry` and `waker` are the poller's.
    ///
    /// # Errors
    ///
    /// A folder of files cannot be opened, or no descriptor is left.
    pub(crate) fn new(options: Options, registry: Registry, waker: Waker) -> io::Result<Self> {
        Ok(Self {
            life: Life::new(),
            deadlines: Deadlines::new(options.idle_timeout),
            polling: Polling::default(),
            threads: Threads::new(&options),
            absences: Absences::default(),
            figures: Figures::default(),
            calls: Calls::new(&options),
            notices: Notices::default(),
            backlog: Backlog::new(&options.queue),
            fiber_lane: options
                .fibers
                .as_ref()
                .map(|fibers| FiberLane::new(fibers, &options.queue))
                .transpose()?,
            unread: Arc::new(Unread::new(options.unread_limit)),
            monitor: Arc::default(),
            site: Site::open(&options.content)?,
            place: OnceLock::new(),
            telemetry: OnceLock::new(),
            returned: Mutex::default(),
            registry,
            waker,
            options,
        })
    }

    /// `false` when it has begun before.
    pub(crate) fn begin(&self) -> bool {
        let begins = self.life.begin();
        if begins {
            self.touch(Instant::now());
            self.deadlines.begin();
            self.tell(WorkerState::Ready);
        }
        begins
    }

    pub(crate) fn status(&self) -> Status {
        self.life.status()
    }

    pub(crate) fn advance(&self, status: Status) {
        if self.life.advance(status) {
            self.tell(WorkerState::Stopping);
            self.backlog.wake(usize::MAX);
            if let Some(lane) = &self.fiber_lane {
                lane.ring();
            }
            self.wake_poller();
            self.monitor.wake();
            self.threads.manager.wake();
        }
    }

    fn tell(&self, state: WorkerState) {
        if let Some(telemetry) = self.telemetry.get() {
            telemetry.enter(state);
        }
    }

    /// Makes the thread that waits in epoll return.
    pub(crate) fn wake_poller(&self) {
        let _ = self.waker.wake();
    }

    pub(crate) fn returned(&self) -> MutexGuard<'_, Returned> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify(&self, notice: Notice) {
        self.notices.push(notice);
        // The managing thread may be the one that polls.
        self.threads.manager.interrupt();
    }

    /// Whether a thread without the GVL is to go on polling soon.
    pub(crate) fn note_unfinished(&self, wait: bool) {
        if self.polling.note_unfinished(wait) {
            self.monitor.hurry();
        }
    }

    /// Requests that a thread is serving, or that wait for one.
    pub(crate) fn work(&self) -> usize {
        self.threads.busy() + self.backlog.len() + self.backlog.kept()
    }

    /// Requests that fibers serve, or that wait for one.
    pub(crate) fn fiber_work(&self) -> usize {
        self.fiber_lane.as_ref().map_or(0, |lane| lane.begun() + lane.len())
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
        let busy = self.threads.busy().saturating_sub(self.threads.size.beyond());
        // Fibers take no thread from anybody. Where they serve everything they are all that is to be seen.
        let fibers =
            if self.fiber_lane.as_ref().is_some_and(FiberLane::takes_all) { self.fiber_work() } else { 0 };
        busy + self.backlog.len() + kept + fibers
    }

    /// How many threads serve and have the GVL, or want it; only where absences are told.
    pub(crate) fn computing(&self) -> usize {
        match self.options.suspensions_told {
            true => self.threads.busy().saturating_sub(self.absences.away.load(Ordering::SeqCst)),
            false => 0,
        }
    }

    /// Whether a thread that serves computes. Where that is not told, it seems so when one serves and the process uses a
    /// processor.
    pub(crate) fn seems_to_compute(&self) -> bool {
        match self.options.suspensions_told {
            true => self.computing() > 0,
            false => self.threads.busy() > 0 && self.polling.computes.load(Ordering::Relaxed),
        }
    }

    /// How many requests this worker serves at a time, as the other workers see it.
    pub(crate) fn shown_size(&self) -> usize {
        match &self.fiber_lane {
            Some(lane) if lane.takes_all() => lane.max(),
            _ => self.threads.size.max_with_hung(),
        }
    }

    pub(crate) fn may_accept(&self) -> bool {
        if self.threads.is_held() {
            return false;
        }
        if self.options.queue_requests {
            return true;
        }
        self.work() < self.threads.size.limit()
    }

    pub(crate) fn check_drained(&self, connections: usize) {
        // Of a request that hangs nobody waits for the end.
        let busy = self.threads.busy().saturating_sub(self.threads.size.hung());
        let fibers = self.fiber_work().saturating_sub(self.fiber_lane.as_ref().map_or(0, FiberLane::hung));
        if connections == 0 && self.backlog.len() == 0 && busy == 0 && fibers == 0 {
            self.advance(Status::Done);
        }
    }

    /// The connection's owner goes on with whatever it is in the middle of; a socket that has to be waited for becomes
    /// known to epoll. If the caller `hurries`, as one does that holds the GVL, what may wait for a disk is left for another
    /// time.
    pub(crate) fn progress(
        &self,
        connection: &Connection,
        exchange: &mut Exchange,
        now: Instant,
        hurries: bool,
    ) -> Outcome {
        let mut outcome = match exchange.take_undecided() {
            true => Outcome::Queue,
            false => exchange.progress(&self.options, now),
        };
        outcome = self.answer_with_files(connection, exchange, outcome, now, hurries);
        if matches!(outcome, Outcome::Wait | Outcome::Again) && self.register(connection, exchange).is_err() {
            outcome = Outcome::Close;
        }
        if outcome == Outcome::Carry && !exchange.is_carriage() {
            // Before: the socket is the carriage's then.
            match self.register(connection, exchange) {
                Ok(()) => exchange.become_carriage(now),
                Err(_) => outcome = Outcome::Close,
            }
        }
        if outcome == Outcome::Again
            && let Some(fault) = exchange.take_fault()
        {
            self.notify(Notice::TlsFailed(connection.peer(), fault));
        }
        outcome
    }

    /// Makes `exchange`'s socket known to epoll, for every edge; does nothing when it is.
    pub(crate) fn register(&self, connection: &Connection, exchange: &mut Exchange) -> io::Result<()> {
        if exchange.registered {
            return Ok(());
        }
        if let Some(socket) = exchange.socket() {
            let fd = socket.as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.registry.register(&mut SourceFd(&fd), connection.id().token(), interest)?;
            exchange.registered = true;
        }
        Ok(())
    }

    /// Ends what [`Shared::register`] began.
    pub(crate) fn deregister(&self, exchange: &Exchange) {
        if exchange.registered
            && let Some(socket) = exchange.socket()
        {
            let fd = socket.as_raw_fd();
            let _ = self.registry.deregister(&mut SourceFd(&fd));
        }
    }

    /// The request of `connection` is complete.
    pub(crate) fn queue(
        &self,
        connection: &Arc<Connection>,
        exchange: MutexGuard<'_, Exchange>,
        now: Instant,
    ) {
        let exempt = self.is_exempt(&exchange);
        if let Some(lane) = &self.fiber_lane
            && lane.takes(&exchange)
        {
            drop(exchange);
            return self.queue_for_fiber(lane, connection, now, exempt);
        }
        let large = exchange.request_len() >= large::LARGE;
        drop(exchange);
        let entry = Entry { request: Arc::clone(connection), since: now, large, exempt };
        if !self.backlog.push(entry, now) {
            self.monitor.hurry();
        }
    }

    /// The request of `connection`, which a thread has taken, is to be begun later.
    pub(crate) fn put_back(&self, connection: &Arc<Connection>) {
        let (since, exempt) = self.waits_since(&connection.exchange());
        self.backlog.put_back(Entry { request: Arc::clone(connection), since, large: false, exempt });
    }

    /// When the complete request of `exchange` became so, and whether it waits for as long as it takes.
    pub(crate) fn waits_since(&self, exchange: &Exchange) -> (Instant, bool) {
        (exchange.ready_at(), self.is_exempt(exchange))
    }

    fn is_exempt(&self, exchange: &Exchange) -> bool {
        self.options.queue.are_set() && self.options.queue.exempt.include(exchange.request_path())
    }

    fn queue_for_fiber(&self, lane: &FiberLane, connection: &Arc<Connection>, since: Instant, exempt: bool) {
        lane.push(Entry { request: Arc::clone(connection), since, large: false, exempt }, since);
        if lane.is_limited() {
            // Nobody else looks how long it waits.
            self.monitor.hurry();
        }
    }

    /// The client of a request that is being served may be gone: if a fiber serves it, and is to hear of that, the pump looks.
    pub(crate) fn doubt_client(&self, connection: &Arc<Connection>) {
        Ownership::see_each_other();
        if connection.fiber() != 0
            && let Some(lane) = &self.fiber_lane
        {
            lane.doubt(Arc::clone(connection));
        }
    }

    /// Has a thread look for requests, if there are any: for a caller that made one ready and will not serve it.
    pub(crate) fn nudge(&self) {
        if self.life.is_at_home() && self.backlog.len() > 0 {
            self.wake_poller();
            self.backlog.wake(1);
            self.monitor.hurry();
        }
    }
}
