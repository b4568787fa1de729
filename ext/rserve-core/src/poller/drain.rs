//! The end of a server, whose process may go on.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::Poller;
use crate::cluster::balance::Gate;
use crate::connection::Connection;
use crate::shared::{Shared, Status};

impl Poller {
    /// Starts and stops accepting as the server's status says.
    pub(super) fn follow_status(&mut self, shared: &Shared, now: Instant) {
        if self.draining {
            return;
        }
        match shared.status() {
            Status::Running | Status::Retiring => {
                if !self.watched {
                    self.watch_listeners(shared);
                }
                if self.held && shared.life.is_open() {
                    self.open(shared, now);
                }
                let resumes = self.paused_until.is_some_and(|until| until <= now);
                if resumes {
                    self.paused_until = None;
                }
                if resumes || self.left_until.take().is_some() {
                    self.accept_from(shared, self.in_use(), now);
                }
            }
            Status::New => {}
            Status::Draining | Status::Done => self.drain(shared, now),
        }
    }

    /// Takes what already waits, unless other workers will, then no more; idle connections get a last moment.
    pub(super) fn drain(&mut self, shared: &Shared, now: Instant) {
        self.paused_until = None;
        let others_accept = self.gate.as_mut().is_some_and(Gate::close);
        self.draining = true;
        if shared.backlog.stop_taking_turns(now) {
            shared.nudge();
        }
        if shared.status() == Status::Draining && !others_accept {
            for index in self.in_use() {
                // A listener's queue is bounded, but clients may fill it as fast as it is emptied.
                let mut batches = 0..16;
                while batches.next().is_some() && self.accept(shared, index, now) {}
            }
        }
        self.forget_listeners();
        (self.paused_until, self.left_until) = (None, None);
        let last_moment = now + shared.options.drain_grace;
        for connection in self.slots.iter() {
            if !connection.owner.saw(0) {
                continue;
            }
            let mut exchange = connection.exchange();
            if exchange.is_carriage() {
                self.say_goodbye(shared, connection, &mut exchange, last_moment, now);
            } else if exchange.may_hurry() {
                shared.deadline_at(connection, last_moment);
            }
        }
    }

    /// Connections that a stop waits for.
    pub(super) fn to_answer(&self) -> usize {
        let is_waited_for =
            |connection: &&Arc<Connection>| !connection.is_apart() && !self.carries_only_apart(connection);
        self.slots.iter().filter(is_waited_for).count()
    }

    /// Lets go of all sockets: the port is free for others, and every client sees the end. What a Ruby thread still
    /// serves has nobody any more who would read it.
    pub(crate) fn let_go(&mut self) {
        self.forget_listeners();
        let connections: Vec<_> = self.slots.iter().map(Arc::clone).collect();
        for connection in connections {
            // Another thread is sending on it, and closes it afterwards.
            let Some(mut exchange) = connection.try_exchange() else { continue };
            match connection.owner.is_busy() {
                true => exchange.shut_down(),
                false => exchange.close(),
            }
            drop(exchange);
            self.slots.remove(connection.id());
        }
    }

    pub(super) fn forget_listeners(&mut self) {
        if std::mem::take(&mut self.watched) {
            for listener in &self.listeners {
                let _ = self.epoll.delete(listener.as_fd());
            }
        }
        self.listeners.clear();
    }
}
