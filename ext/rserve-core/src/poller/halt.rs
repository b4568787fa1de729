//! The end of a server whose process goes on.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::Poller;

impl Poller {
    /// Lets go of all sockets: the port is free for others, and every client sees the end. What a Ruby thread still
    /// serves has nobody any more who would read it.
    pub(crate) fn let_go(&mut self) {
        self.forget_listeners();
        let connections: Vec<_> = self.slots.iter().map(Arc::clone).collect();
        for connection in connections {
            // Who has it is sending; the client sees the end after that.
            let Some(mut exchange) = connection.try_exchange() else { continue };
            match connection.is_busy() {
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
