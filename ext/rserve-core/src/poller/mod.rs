//! The poller's side: epoll, accepting, deadlines. The thread that holds the poller's lock is the poller.
//!
//! A [`Poller::turn`] never runs application code and never waits for anything but epoll, so it may be done by a Ruby
//! thread that released the GVL, or by the monitor. One that holds it only takes a [`Poller::light_turn`]: a TLS handshake
//! is a millisecond's work in which no Ruby could run, and so is a part of an upload that goes to a file.
//!
//! A turn has an end, however much there is to do: a request that became complete at its start is waiting.

mod accept;
mod carry;
mod deadlines;
mod drain;
mod gaps;
mod held_back;
mod offers;
mod readers;
mod uploads;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use nix::sys::epoll::Epoll;

use crate::cluster::balance::Gate;
use crate::connection::exchange::{Exchange, Outcome};
use crate::connection::ownership::NEVER;
use crate::connection::slots::Slots;
use crate::connection::{Connection, ConnectionId};
use crate::net::edges::{ENDED, READABLE, WRITABLE};
use crate::net::listener::Listener;
use crate::shared::{Notice, Shared, Status};
use crate::tuning::TURN;

use gaps::Gaps;
use held_back::HeldBack;
use offers::Offers;
use uploads::Uploads;

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1024;

/// The shortest time between two lines that say that no connection can be taken.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Poller {
    poll: Poll,
    /// The same instance, for flags that mio does not know.
    epoll: Epoll,
    events: Events,
    listeners: Vec<Listener>,
    /// The listeners are known to epoll.
    watched: bool,
    /// Only the first listener is, until [`Server::open`](crate::server::Server::open).
    held: bool,
    /// No connection is taken before this; then the listeners are looked at without being asked by epoll.
    paused_until: Option<Instant>,
    /// Shared listeners: whether to take a connection.
    gate: Option<Gate>,
    /// A connection was left to other workers: look again in every turn, and not after this.
    left_until: Option<Instant>,
    /// When the log last said that no connection can be taken.
    told_at: Option<Instant>,
    /// When the log last said that clients which read too slowly were cut off.
    told_of_readers_at: Option<Instant>,
    slots: Slots,
    /// Connections that have more to do than one turn allowed.
    again: VecDeque<ConnectionId>,
    /// Connections with heavy work ([`Exchange::is_heavy`]), which is left to a thread without the GVL.
    heavy: VecDeque<ConnectionId>,
    /// The thread that polls holds the GVL.
    holds_gvl: bool,
    held_back: HeldBack,
    uploads: Uploads,
    /// This turn did something that may have taken long.
    took_long: bool,
    draining: bool,
    /// Of the threads that poll when they have nothing else to do.
    pub(crate) gaps: Gaps,
    pub(crate) offers: Offers,
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
            held: false,
            paused_until: None,
            gate: None,
            left_until: None,
            told_at: None,
            told_of_readers_at: None,
            slots: Slots::default(),
            again: VecDeque::new(),
            heavy: VecDeque::new(),
            holds_gvl: false,
            held_back: HeldBack::default(),
            uploads: Uploads::default(),
            took_long: false,
            draining: false,
            gaps: Gaps::default(),
            offers: Offers::default(),
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

    /// Adds the first listener; if `held`, connections come in by no other until the server is opened.
    pub(crate) fn add_door(&mut self, door: Listener, held: bool) -> io::Result<()> {
        self.held = held;
        self.add_listener(door)
    }

    /// From now on connections are taken through `gate`.
    pub(crate) fn add_gate(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    /// One round of polling without waiting, by a thread that holds the GVL: handshakes and uploads are left for the
    /// next [`Poller::turn`].
    pub(crate) fn light_turn(&mut self, shared: &Shared) {
        self.holds_gvl = true;
        self.poll_once(shared, Some(Duration::ZERO));
        self.holds_gvl = false;
        shared.note_unfinished(!self.heavy.is_empty());
    }

    /// One round of polling, for at most `limit` (`None`: until something happens), by a thread without the GVL.
    pub(crate) fn turn(&mut self, shared: &Shared, limit: Option<Duration>) {
        self.again.append(&mut self.heavy);
        self.poll_once(shared, limit);
        // A thread that has a request to serve stops polling.
        shared.note_unfinished(!self.again.is_empty() && shared.backlog.len() > 0);
    }

    /// A turn left something for the next one.
    pub(crate) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    fn poll_once(&mut self, shared: &Shared, limit: Option<Duration>) {
        let now = Instant::now();
        self.uploads.wake(if self.holds_gvl { &mut self.heavy } else { &mut self.again }, now);
        self.sweep(shared);
        self.report(shared, now);
        self.follow_status(shared, now);
        self.expire(shared, now);
        self.send_held_back(shared, now);
        let looks_again = self.cut_off_readers(shared, now);
        if self.draining {
            // With nothing left to answer, nothing would end the wait below before the next deadline, if there is one.
            shared.check_drained(self.to_answer());
            if shared.status() == Status::Done {
                return;
            }
        }
        let limit = [limit, looks_again].into_iter().flatten().min();
        let timeout = self.timeout(shared, now, limit);
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, timeout) {
            Ok(()) => {
                let now = if timeout == Some(Duration::ZERO) { now } else { Instant::now() };
                self.took_long = false;
                self.uploads.turn_begins();
                for event in &events {
                    self.dispatch(shared, event, now);
                }
                // One at least, whatever the events took.
                self.took_long = false;
                for _ in 0..self.again.len() {
                    let Some(id) = self.pop_left() else { break };
                    self.go_on(shared, id, 0, now);
                    if self.is_late(now) {
                        break;
                    }
                }
                if self.is_late(now) {
                    let (begun, waits) = (shared.figures.requests(), shared.backlog.has_large());
                    self.uploads.late_turn_ends(now.elapsed(), begun, waits, Instant::now());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => shared.notify(Notice::PollFailed(error)),
        }
        self.events = events;
        shared.figures.note_connections(self.slots.len());
        if self.draining {
            self.sweep(shared);
            shared.check_drained(self.to_answer());
        }
        shared.polling.turns.fetch_add(1, Ordering::Release);
    }

    /// What is left of a turn that began at `began` should wait for the next.
    fn is_late(&self, began: Instant) -> bool {
        self.took_long && began.elapsed() >= TURN
    }

    fn timeout(&self, shared: &Shared, now: Instant, limit: Option<Duration>) -> Option<Duration> {
        // A request may have come already, by a listener that was looked at without epoll.
        if !self.again.is_empty() || shared.backlog.len() > 0 {
            return Some(Duration::ZERO);
        }
        if limit == Some(Duration::ZERO) {
            return limit;
        }
        let due = shared.deadlines.next();
        let deadline = (due != NEVER).then(|| {
            // One more millisecond: epoll rounds down, and a turn just before the deadline would be for nothing.
            Duration::from_millis(due.saturating_sub(shared.deadlines.millis(now)) + 1)
        });
        let left = |until: Option<Instant>| until.map(|until| until.saturating_duration_since(now));
        let untils = [self.paused_until, self.left_until, self.uploads.due(), self.held_back.due()];
        untils.into_iter().map(left).chain([limit, deadline]).flatten().min()
    }

    fn dispatch(&mut self, shared: &Shared, event: &mio::event::Event, now: Instant) {
        match event.token() {
            WAKER => {}
            Token(token) if token >= FIRST_LISTENER => {
                let index = token - FIRST_LISTENER;
                self.accept_from(shared, index..index + 1, now);
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
                self.go_on(shared, ConnectionId::of_token(token), edges, now);
            }
        }
    }

    fn go_on(&mut self, shared: &Shared, id: ConnectionId, edges: u8, now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        let connection = Arc::clone(connection);
        // Of a response that is being made only more to be sent can have been left.
        let seen = if edges == 0 { WRITABLE } else { edges };
        if !connection.owner.saw(seen) {
            if seen & WRITABLE != 0 && connection.send_more_if_free() {
                self.put_off(&connection);
            }
            if seen & ENDED != 0 {
                shared.doubt_client(&connection);
            }
            return;
        }
        let mut exchange = connection.exchange();
        exchange.saw(edges);
        if edges & READABLE != 0 && self.passes_on(shared, &connection, &exchange, now) {
            // It is open elsewhere now, so closing it here would not end its registration.
            shared.deregister(&exchange);
            exchange.leave();
            self.slots.remove(id);
            return;
        }
        drop(exchange);
        self.run(shared, &connection, edges == 0, now);
    }

    /// A request begins on a connection that another worker had better serve: whether one is going to.
    fn passes_on(
        &mut self,
        shared: &Shared,
        connection: &Connection,
        exchange: &Exchange,
        now: Instant,
    ) -> bool {
        let Some(gate) = self.gate.as_mut().filter(|_| !self.draining) else { return false };
        gate.has_surplus(|| shared.seems_to_compute(), now)
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
    fn run(&mut self, shared: &Shared, connection: &Arc<Connection>, left: bool, now: Instant) {
        let mut exchange = connection.exchange();
        let heavy = exchange.is_heavy();
        let stores = exchange.stores_upload();
        let rests = stores && self.uploads.rest();
        if rests || (heavy && self.holds_gvl) {
            if !connection.queued.swap(true, Ordering::Relaxed) {
                match rests {
                    true => self.uploads.push(connection.id()),
                    false => self.heavy.push_back(connection.id()),
                }
            }
            return;
        }
        // A client that has just sent something does not overtake one that has waited since an earlier turn.
        if heavy && !left && (!self.again.is_empty() || self.is_late(now)) {
            drop(exchange);
            return self.put_off(connection);
        }
        let hurries = self.holds_gvl || (!left && self.is_late(now));
        let outcome = shared.progress(connection, &mut exchange, now, hurries);
        if exchange.take_held() {
            self.hold_back(connection.id(), &mut exchange, outcome, now);
        }
        self.took_long |= heavy || outcome == Outcome::Again || exchange.take_answered_with_file();
        if stores {
            self.uploads.stored();
        }
        self.settle(shared, connection, exchange, outcome, now);
    }

    /// Does what the outcome of its progress says with a connection that the poller owns.
    fn settle(
        &mut self,
        shared: &Shared,
        connection: &Arc<Connection>,
        mut exchange: MutexGuard<'_, Exchange>,
        outcome: Outcome,
        now: Instant,
    ) {
        match outcome {
            Outcome::Queue => {
                connection.owner.occupy();
                shared.queue(connection, exchange, now);
            }
            Outcome::Wait => shared.set_deadline(connection, &exchange, now),
            Outcome::Again => {
                shared.set_deadline(connection, &exchange, now);
                drop(exchange);
                self.put_off(connection);
            }
            Outcome::Carry => self.carry(shared, connection, exchange, now),
            Outcome::Close => self.close(shared, connection, &mut exchange),
        }
    }

    fn close(&mut self, shared: &Shared, connection: &Connection, exchange: &mut Exchange) {
        let requests: Vec<_> = exchange.carriage().map_or_else(Vec::new, |it| it.streams().collect());
        exchange.close();
        self.forget(connection.id());
        self.give_up_requests(shared, requests);
    }

    /// Forgets what Ruby threads closed or hijacked, and goes on with what they left to be sent.
    fn sweep(&mut self, shared: &Shared) {
        let mut returned = shared.returned();
        if returned.is_empty() {
            return;
        }
        let (closed, again) = (std::mem::take(&mut returned.closed), std::mem::take(&mut returned.again));
        drop(returned);
        for id in closed {
            self.forget(id);
        }
        for id in again {
            if let Some(connection) = self.slots.get(id).map(Arc::clone) {
                self.put_off(&connection);
            }
        }
    }
}

#[cfg(test)]
mod tests;
