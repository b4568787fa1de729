//! Taking connections: from the listeners that are watched, through the gate if other workers listen, too.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::{FIRST_LISTENER, Poller, TELL_EVERY};
use crate::connection::Connection;
use crate::connection::exchange::Exchange;
use crate::net::listener::Listener;
use crate::shared::{Notice, Shared};

/// Connections that one turn takes from one listener at most.
const ACCEPT_BATCH: usize = 64;

/// How long no connection is taken after the process ran out of descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Connections that have been idle for less are not closed to make room for others.
const SPARED_IDLE: Duration = Duration::from_secs(1);

/// How soon a listener is looked at again that had to wait for a free thread.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

impl Poller {
    /// Takes connections that wait at one listener; `true` when there may be more.
    pub(super) fn accept(&mut self, shared: &Shared, index: usize, now: Instant) -> bool {
        for _ in 0..ACCEPT_BATCH {
            if self.paused_until.is_some() {
                return false;
            }
            // A server that drains takes all connections that wait, also without a free thread: no other server will.
            if !self.draining && !shared.may_accept() {
                self.paused_until = Some(now + BUSY_PAUSE);
                return false;
            }
            if let Err(pause) = self.ask(shared, index, now) {
                self.left_until = pause.map(|pause| now + pause).or(self.left_until);
                return false;
            }
            let Some(listener) = self.listeners.get(index) else { return false };
            match listener.accept() {
                Ok(accepted) => {
                    shared.touch(now);
                    let (options, unread) = (&shared.options, &shared.unread);
                    let connection =
                        self.slots.insert(|id| Connection::new(id, index, accepted, options, unread, now));
                    if let Some(telemetry) = shared.telemetry.get() {
                        connection.exchange().tell_in(telemetry);
                    }
                    self.run(shared, &connection, false, now);
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(errno) => {
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM, or a listener that broke.
                    if self.told_at.is_none_or(|at| now >= at + TELL_EVERY) {
                        self.told_at = Some(now);
                        shared.notify(Notice::AcceptFailed(errno));
                    }
                    let pause = if self.make_room(shared, now) { Duration::ZERO } else { EXHAUSTED_PAUSE };
                    self.paused_until = Some(now + pause);
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn accept_from(&mut self, shared: &Shared, listeners: Range<usize>, now: Instant) {
        for index in listeners {
            if self.accept(shared, index, now) {
                self.paused_until = Some(now); // There may be more, and epoll will not say so again.
            }
        }
        shared.polling.note_left(self.left_until.is_some(), shared.deadlines.millis(now));
        if self.left_until.is_none()
            && let Some(gate) = &mut self.gate
        {
            gate.nothing_waits();
        }
    }

    /// Whether to take a connection of this listener; `Err` is how long to leave it, if there is one.
    pub(super) fn ask(
        &mut self,
        shared: &Shared,
        index: usize,
        now: Instant,
    ) -> Result<(), Option<Duration>> {
        if self.draining {
            return Ok(());
        }
        self.report(shared, now);
        match (&mut self.gate, self.listeners.get(index)) {
            (Some(gate), Some(listener)) => gate.ask(|| listener.is_readable(), now),
            _ => Ok(()),
        }
    }

    pub(super) fn report(&mut self, shared: &Shared, now: Instant) {
        if let Some(gate) = &mut self.gate {
            let (begun, large) = (shared.figures.requests(), shared.figures.large());
            gate.report(shared.shown_work(), self.slots.len(), begun, large, now);
            shared.show_work();
        }
    }

    /// Closes connections that nobody has used for a while, so that others can be taken; `false` when there are none.
    pub(super) fn make_room(&mut self, shared: &Shared, now: Instant) -> bool {
        // An idle connection's deadline tells since when it is idle.
        let patience = shared.options.persistent_timeout.saturating_sub(SPARED_IDLE);
        let latest = shared.deadlines.millis(now + patience);
        let is_idle = |exchange: &Exchange| exchange.is_idle() && exchange.served() > 0;
        let mut idle: Vec<_> = self
            .slots
            .iter()
            .filter(|connection| connection.owner.deadline() <= latest)
            .filter(|connection| !connection.owner.is_busy() && is_idle(&connection.exchange()))
            .map(Arc::clone)
            .collect();
        idle.sort_by_key(|connection| connection.owner.deadline());
        idle.truncate(ACCEPT_BATCH);
        for connection in &idle {
            self.close(shared, connection, &mut connection.exchange());
        }
        !idle.is_empty()
    }

    pub(super) fn watch_listeners(&mut self, shared: &Shared) {
        self.watched = true;
        if let Some(gate) = &mut self.gate {
            gate.open(shared.threads.size.max());
            self.listeners.push(Listener::of_transfers(Arc::clone(gate.transfers())));
        }
        self.watch_all(shared, self.in_use());
    }

    /// Connections come in by all listeners from now on, and the idle time begins.
    pub(super) fn open(&mut self, shared: &Shared, now: Instant) {
        let known = self.in_use();
        if std::mem::replace(&mut self.held, false)
            && let Some(gate) = &mut self.gate
        {
            gate.succeeds_others();
        }
        shared.touch(now);
        shared.deadlines.begin();
        self.watch_all(shared, known.end..self.listeners.len());
    }

    /// The listeners by which connections come in.
    pub(super) fn in_use(&self) -> Range<usize> {
        0..if self.held { self.listeners.len().min(1) } else { self.listeners.len() }
    }

    fn watch_all(&self, shared: &Shared, listeners: Range<usize>) {
        for index in listeners {
            if let Err(error) = self.watch(index, &self.listeners[index]) {
                shared.notify(Notice::PollFailed(error));
            }
        }
    }

    pub(super) fn watch(&self, index: usize, listener: &Listener) -> io::Result<()> {
        // Every worker that sleeps is woken. EPOLLEXCLUSIVE would wake one, and be content with one that is stopped, or
        // about to leave. An edge: what was left to others is looked at again when the pause is over, not all the time.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, (FIRST_LISTENER + index) as u64);
        Ok(self.epoll.add(listener.as_fd(), event)?)
    }
}
