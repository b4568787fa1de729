//! The poller's side: epoll, accepting, deadlines. Whoever holds the poller's lock is the poller.
//!
//! A [`Poller::turn`] never runs application code and never waits for anything but epoll, so it may be done by a Ruby
//! thread that released the GVL, or by the monitor. One that holds it only takes a [`Poller::glance`]: a TLS handshake
//! is a millisecond's work in which no Ruby could run, and so is a part of an upload that goes to a file.
//!
//! A turn has an end, however much there is to do: a request that became complete at its start is waiting.

mod halt;
mod readers;
mod uploads;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::cluster::balance::Gate;
use crate::connection::exchange::{Exchange, Outcome};
use crate::connection::slots::Slots;
use crate::connection::{Connection, ConnectionId, NEVER};
use crate::net::edges::{ENDED, READABLE, WRITABLE};
use crate::net::listener::Listener;
use crate::server::{Notice, Server, Status};

use uploads::Uploads;

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1024;

/// Connections that one turn takes from one listener at most.
const ACCEPT_BATCH: usize = 64;

/// How long no connection is taken after the process ran out of descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How often it is told at most that no connection can be taken.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Connections that have been idle for less are not closed to make room for others.
const SPARED_IDLE: Duration = Duration::from_secs(1);

/// How soon a listener is looked at again that had to wait for a free thread.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// After this a turn ends; what is left comes first in the next one.
pub(crate) const TURN: Duration = Duration::from_micros(300);

/// Deadlines are looked at no more often than this.
const EXPIRE_EVERY: u64 = 50;

/// How long a server that stops lets connections bring another request, which is then answered with
/// `Connection: close`: closing them at once would lose the requests that are on their way.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_millis(150);

pub(crate) struct Poller {
    poll: Poll,
    /// The same instance, for flags that mio does not know.
    epoll: Epoll,
    events: Events,
    listeners: Vec<Listener>,
    /// The listeners are known to epoll.
    watched: bool,
    /// No connection is taken before this; then the listeners are looked at without being asked by epoll.
    paused_until: Option<Instant>,
    /// Shared listeners: whether to take a connection.
    gate: Option<Gate>,
    /// A connection was left to other workers: look again in every turn, and not after this.
    left_until: Option<Instant>,
    /// When it was last told that no connection can be taken.
    told_at: Option<Instant>,
    /// When it was last told that clients which read too slowly were cut off.
    told_of_readers_at: Option<Instant>,
    slots: Slots,
    /// Connections that have more to do than one turn allowed.
    again: VecDeque<ConnectionId>,
    /// Connections with more to do that are left to a thread without the GVL.
    laborious: VecDeque<ConnectionId>,
    /// Whoever polls holds the GVL.
    glancing: bool,
    uploads: Uploads,
    /// This turn did something that may have taken long.
    toiled: bool,
    draining: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<(Self, Registry, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registry = poll.registry().try_clone()?;
        let epoll = crate::sys::epoll_of(&poll)?;
        let poller = Self {
            poll,
            epoll,
            events: Events::with_capacity(256),
            listeners: Vec::new(),
            watched: false,
            paused_until: None,
            gate: None,
            left_until: None,
            told_at: None,
            told_of_readers_at: None,
            slots: Slots::default(),
            again: VecDeque::new(),
            laborious: VecDeque::new(),
            glancing: false,
            uploads: Uploads::default(),
            toiled: false,
            draining: false,
        };
        Ok((poller, registry, waker))
    }

    pub(crate) fn add_listener(&mut self, listener: Listener) -> io::Result<()> {
        if self.watched {
            self.watch(self.listeners.len(), &listener)?;
        }
        self.listeners.push(listener);
        Ok(())
    }

    /// From now on connections are taken through `gate`.
    pub(crate) fn add_gate(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    /// One round of polling without waiting, by a thread that holds the GVL: handshakes and uploads are left for the
    /// next [`Poller::turn`].
    pub(crate) fn glance(&mut self, server: &Server) {
        self.glancing = true;
        self.poll_once(server, Some(Duration::ZERO));
        self.glancing = false;
        server.note_unfinished(!self.laborious.is_empty());
    }

    /// One round of polling, for at most `limit` (`None`: until something happens), by a thread without the GVL.
    pub(crate) fn turn(&mut self, server: &Server, limit: Option<Duration>) {
        self.again.append(&mut self.laborious);
        self.poll_once(server, limit);
        // Who has a request to serve leaves.
        server.note_unfinished(!self.again.is_empty() && server.backlog.len() > 0);
    }

    /// A turn left something for the next one.
    pub(crate) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    fn poll_once(&mut self, server: &Server, limit: Option<Duration>) {
        let now = Instant::now();
        self.uploads.wake(if self.glancing { &mut self.laborious } else { &mut self.again }, now);
        self.sweep(server);
        self.report(server, now);
        self.follow_status(server, now);
        self.expire(server, now);
        let looks_again = self.cut_off_readers(server, now);
        if self.draining {
            // With nothing left to answer, nothing would end the wait below before the next deadline, if there is one.
            server.check_drained(self.to_answer());
            if server.status() == Status::Done {
                return;
            }
        }
        let limit = [limit, looks_again].into_iter().flatten().min();
        let timeout = self.timeout(server, now, limit);
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, timeout) {
            Ok(()) => {
                let now = if timeout == Some(Duration::ZERO) { now } else { Instant::now() };
                self.toiled = false;
                self.uploads.turn_begins();
                for event in &events {
                    self.dispatch(server, event, now);
                }
                // One at least, whatever the events took.
                self.toiled = false;
                for _ in 0..self.again.len() {
                    let Some(id) = self.pop_left() else { break };
                    self.go_on(server, id, 0, now);
                    if self.is_late(now) {
                        break;
                    }
                }
                if self.is_late(now) {
                    let (begun, waits) = (server.requests_begun(), server.backlog.has_large());
                    self.uploads.late_turn_ends(now.elapsed(), begun, waits, Instant::now());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => server.notify(Notice::PollFailed(error)),
        }
        self.events = events;
        server.note_connections(self.slots.len());
        if self.draining {
            self.sweep(server);
            server.check_drained(self.to_answer());
        }
        server.turns.fetch_add(1, Ordering::Release);
    }

    /// Connections that a stop waits for.
    fn to_answer(&self) -> usize {
        self.slots.iter().filter(|connection| !connection.is_apart()).count()
    }

    /// What is left of a turn that began at `began` should wait for the next.
    fn is_late(&self, began: Instant) -> bool {
        self.toiled && began.elapsed() >= TURN
    }

    fn timeout(&self, server: &Server, now: Instant, limit: Option<Duration>) -> Option<Duration> {
        // A request may have come already, by a listener that was looked at without epoll.
        if !self.again.is_empty() || server.backlog.len() > 0 {
            return Some(Duration::ZERO);
        }
        if limit == Some(Duration::ZERO) {
            return limit;
        }
        let due = server.next_deadline.load(Ordering::Acquire);
        let deadline = (due != NEVER).then(|| {
            // One more millisecond: epoll rounds down, and a turn just before the deadline would be for nothing.
            Duration::from_millis(due.saturating_sub(server.millis(now)) + 1)
        });
        let left = |until: Option<Instant>| until.map(|until| until.saturating_duration_since(now));
        let untils = [self.paused_until, self.left_until, self.uploads.due()];
        untils.into_iter().map(left).chain([limit, deadline]).flatten().min()
    }

    fn dispatch(&mut self, server: &Server, event: &mio::event::Event, now: Instant) {
        match event.token() {
            WAKER => {}
            Token(token) if token >= FIRST_LISTENER => {
                let index = token - FIRST_LISTENER;
                self.accept_from(server, index..index + 1, now);
            }
            token => {
                let mut edges = 0;
                if event.is_readable() || event.is_error() || event.is_read_closed() {
                    edges |= READABLE;
                }
                if event.is_read_closed() {
                    edges |= ENDED;
                }
                if event.is_writable() || event.is_error() {
                    edges |= WRITABLE;
                }
                self.go_on(server, ConnectionId::of_token(token), edges, now);
            }
        }
    }

    /// Takes connections that wait at one listener; `true` when there may be more.
    fn accept(&mut self, server: &Server, index: usize, now: Instant) -> bool {
        for _ in 0..ACCEPT_BATCH {
            if self.paused_until.is_some() {
                return false;
            }
            // Who ends takes what waits whether there is a thread for it or not: nobody else will.
            if !self.draining && !server.may_accept() {
                self.paused_until = Some(now + BUSY_PAUSE);
                return false;
            }
            if let Err(pause) = self.ask(server, index, now) {
                self.left_until = pause.map(|pause| now + pause).or(self.left_until);
                return false;
            }
            let Some(listener) = self.listeners.get(index) else { return false };
            match listener.accept() {
                Ok(accepted) => {
                    server.touch(now);
                    let (options, unread) = (&server.options, &server.unread);
                    let connection =
                        self.slots.insert(|id| Connection::new(id, index, accepted, options, unread, now));
                    self.run(server, &connection, false, now);
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(errno) => {
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM, or a listener that broke.
                    if self.told_at.is_none_or(|at| now >= at + TELL_EVERY) {
                        self.told_at = Some(now);
                        server.notify(Notice::AcceptFailed(errno));
                    }
                    let pause = if self.make_room(server, now) { Duration::ZERO } else { EXHAUSTED_PAUSE };
                    self.paused_until = Some(now + pause);
                    return false;
                }
            }
        }
        true
    }

    fn accept_from(&mut self, server: &Server, listeners: Range<usize>, now: Instant) {
        for index in listeners {
            if self.accept(server, index, now) {
                self.paused_until = Some(now); // There may be more, and epoll will not say so again.
            }
        }
        if self.left_until.is_none()
            && let Some(gate) = &mut self.gate
        {
            gate.nothing_waits();
        }
    }

    /// Whether to take a connection of this listener; `Err` is how long to leave it, if there is one.
    fn ask(&mut self, server: &Server, index: usize, now: Instant) -> Result<(), Option<Duration>> {
        if self.draining {
            return Ok(());
        }
        self.report(server, now);
        match (&mut self.gate, self.listeners.get(index)) {
            (Some(gate), Some(listener)) => gate.ask(|| listener.is_readable(), now),
            _ => Ok(()),
        }
    }

    fn report(&mut self, server: &Server, now: Instant) {
        if let Some(gate) = &mut self.gate {
            let (begun, large) = (server.requests_begun(), server.large_begun());
            gate.report(server.shown_work(), self.slots.len(), begun, large, now);
            server.show_work();
        }
    }

    /// Closes connections that nobody has used for a while, so that others can be taken; `false` when there are none.
    fn make_room(&mut self, server: &Server, now: Instant) -> bool {
        // An idle connection's deadline tells since when it is idle.
        let patience = server.options.persistent_timeout.saturating_sub(SPARED_IDLE);
        let latest = server.millis(now + patience);
        let is_idle = |exchange: &Exchange| exchange.is_idle() && exchange.served() > 0;
        let mut idle: Vec<_> = self
            .slots
            .iter()
            .filter(|connection| connection.deadline.load(Ordering::Relaxed) <= latest)
            .filter(|connection| !connection.is_busy() && is_idle(&connection.exchange()))
            .map(Arc::clone)
            .collect();
        idle.sort_by_key(|connection| connection.deadline.load(Ordering::Relaxed));
        idle.truncate(ACCEPT_BATCH);
        for connection in &idle {
            self.close(connection, &mut connection.exchange());
        }
        !idle.is_empty()
    }

    fn go_on(&mut self, server: &Server, id: ConnectionId, edges: u8, now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        let connection = Arc::clone(connection);
        // Of a response that is being made only more to be sent can have been left.
        let seen = if edges == 0 { WRITABLE } else { edges };
        if !connection.saw(seen) {
            if seen & WRITABLE != 0 && server.send_more_if_free(&connection) {
                self.put_off(&connection);
            }
            return;
        }
        let mut exchange = connection.exchange();
        exchange.saw(edges);
        if edges & READABLE != 0 && self.passes_on(&connection, &exchange, now) {
            // It is open elsewhere now, so closing it here would not end its registration.
            server.deregister(&exchange);
            exchange.leave();
            self.slots.remove(id);
            return;
        }
        drop(exchange);
        self.run(server, &connection, edges == 0, now);
    }

    /// A request begins on a connection that another worker had better serve: whether one is going to.
    fn passes_on(&mut self, connection: &Connection, exchange: &Exchange, now: Instant) -> bool {
        let Some(gate) = self.gate.as_mut().filter(|_| !self.draining) else { return false };
        gate.has_surplus(now)
            && exchange.transferable().is_some_and(|socket| gate.pass_on(socket, connection.ticket(exchange)))
    }

    /// Leaves the rest for a later turn, behind what was left before.
    fn put_off(&mut self, connection: &Connection) {
        if !connection.queued.swap(true, Ordering::Relaxed) {
            self.again.push_back(connection.id());
        }
    }

    /// The next that was left.
    fn pop_left(&mut self) -> Option<ConnectionId> {
        let id = self.again.pop_front()?;
        if let Some(connection) = self.slots.get(id) {
            connection.queued.store(false, Ordering::Relaxed);
        }
        Some(id)
    }

    /// Lets a connection that the poller owns go on; `left` when it comes from the queue of those that were left.
    fn run(&mut self, server: &Server, connection: &Arc<Connection>, left: bool, now: Instant) {
        let mut exchange = connection.exchange();
        let laborious = exchange.is_laborious();
        let stores = exchange.stores_upload();
        let rests = stores && self.uploads.rest();
        if rests || (laborious && self.glancing) {
            if !connection.queued.swap(true, Ordering::Relaxed) {
                match rests {
                    true => self.uploads.push(connection.id()),
                    false => self.laborious.push_back(connection.id()),
                }
            }
            return;
        }
        // Who has just sent something does not overtake who has waited since an earlier turn.
        if laborious && !left && (!self.again.is_empty() || self.is_late(now)) {
            drop(exchange);
            return self.put_off(connection);
        }
        let mut outcome = exchange.progress(&server.options, now);
        if matches!(outcome, Outcome::Wait | Outcome::Again)
            && server.register(connection, &mut exchange).is_err()
        {
            outcome = Outcome::Close;
        }
        if outcome == Outcome::Again {
            server.note_fault(connection, &mut exchange);
        }
        self.toiled |= laborious || outcome == Outcome::Again;
        if stores {
            self.uploads.stored();
        }
        match outcome {
            Outcome::Queue => {
                connection.occupy();
                server.queue(connection, exchange, now);
            }
            Outcome::Wait => server.set_deadline(connection, &exchange, now),
            Outcome::Again => {
                server.set_deadline(connection, &exchange, now);
                drop(exchange);
                self.put_off(connection);
            }
            Outcome::Close => self.close(connection, &mut exchange),
        }
    }

    fn close(&mut self, connection: &Connection, exchange: &mut Exchange) {
        exchange.close();
        self.slots.remove(connection.id());
    }

    /// Forgets what Ruby threads closed or hijacked, and goes on with what they left to be sent.
    fn sweep(&mut self, server: &Server) {
        let mut returned = server.returned();
        if returned.is_empty() {
            return;
        }
        for id in returned.closed.drain(..) {
            self.slots.remove(id);
        }
        let again = std::mem::take(&mut returned.again);
        drop(returned);
        for id in again {
            if let Some(connection) = self.slots.get(id).map(Arc::clone) {
                self.put_off(&connection);
            }
        }
    }

    /// Ends what has waited too long.
    fn expire(&mut self, server: &Server, now: Instant) {
        let millis = server.millis(now);
        if server.take_eviction() {
            for connection in self.slots.iter().filter(|connection| !connection.is_busy()) {
                server.deadline_at(connection, now);
            }
        }
        if millis < server.next_deadline.load(Ordering::Acquire) {
            return;
        }
        server.next_deadline.store(NEVER, Ordering::Release);
        let mut next =
            server.idle_deadline(|| self.slots.iter().all(|c| !c.is_busy() && c.exchange().is_idle()), now);
        let mut expired = Vec::new();
        for connection in self.slots.iter() {
            let deadline = connection.deadline.load(Ordering::Relaxed);
            if deadline <= millis {
                expired.push(Arc::clone(connection));
            } else {
                next = next.min(deadline);
            }
        }
        for connection in expired {
            if connection.saw(0) {
                self.give_up(server, &connection, now);
            }
        }
        if next != NEVER {
            server.next_deadline.fetch_min(next.max(millis + EXPIRE_EVERY), Ordering::AcqRel);
        }
    }

    fn give_up(&mut self, server: &Server, connection: &Arc<Connection>, now: Instant) {
        let mut exchange = connection.exchange();
        connection.deadline.store(NEVER, Ordering::Relaxed);
        let late = match (exchange.in_body(), exchange.in_head()) {
            (true, _) => Some("body"),
            // At the end of a server it is not the client that is late (Puma).
            (_, true) if server.status() == Status::Running => Some("head"),
            // Who has sent nothing did not ask anything.
            _ => None,
        };
        if let Some(part) = late {
            server.notify(Notice::TimedOut(connection.peer(), part));
            exchange.answer_timeout(&server.options, connection.peer());
            drop(exchange);
            self.run(server, connection, true, now);
        } else {
            self.close(connection, &mut exchange);
        }
    }

    /// Starts and stops accepting as the server's status says.
    fn follow_status(&mut self, server: &Server, now: Instant) {
        if self.draining {
            return;
        }
        match server.status() {
            Status::Running => {
                if !self.watched {
                    self.watch_listeners(server);
                }
                let resumes = self.paused_until.is_some_and(|until| until <= now);
                if resumes {
                    self.paused_until = None;
                }
                if resumes || self.left_until.take().is_some() {
                    self.accept_from(server, 0..self.listeners.len(), now);
                }
            }
            Status::New => {}
            Status::Draining | Status::Done => self.drain(server, now),
        }
    }

    fn watch_listeners(&mut self, server: &Server) {
        self.watched = true;
        if let Some(gate) = &mut self.gate {
            gate.open(server.size.max());
            self.listeners.push(Listener::of_transfers(Arc::clone(gate.transfers())));
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            if let Err(error) = self.watch(index, listener) {
                server.notify(Notice::PollFailed(error));
            }
        }
    }

    /// Takes what already waits, unless other workers will, then no more; idle connections get a last moment.
    fn drain(&mut self, server: &Server, now: Instant) {
        self.paused_until = None;
        let others_accept = self.gate.as_mut().is_some_and(Gate::close);
        self.draining = true;
        if server.backlog.stop_taking_turns(now) {
            server.nudge();
        }
        if server.status() == Status::Draining && !others_accept {
            for index in 0..self.listeners.len() {
                // A listener's queue is bounded, but clients may fill it as fast as it is emptied.
                let mut batches = 0..16;
                while batches.next().is_some() && self.accept(server, index, now) {}
            }
        }
        self.forget_listeners();
        (self.paused_until, self.left_until) = (None, None);
        for connection in self.slots.iter() {
            if connection.saw(0) && connection.exchange().may_hurry() {
                server.deadline_at(connection, now + DRAIN_GRACE);
            }
        }
    }

    fn watch(&self, index: usize, listener: &Listener) -> io::Result<()> {
        // Every worker that sleeps is woken. EPOLLEXCLUSIVE would wake one, and be content with one that is stopped, or
        // about to leave. An edge: what was left to others is looked at again when the pause is over, not all the time.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, (FIRST_LISTENER + index) as u64);
        Ok(self.epoll.add(listener.as_fd(), event)?)
    }
}

#[cfg(test)]
mod tests;
