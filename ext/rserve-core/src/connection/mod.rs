//! A client's connection and who may touch it.
//!
//! A connection has one *owner* at any time: the poller (the thread that holds it), or, from the moment a request is
//! complete, the Ruby thread that serves it. Ownership is one bit of an atomic, so that handing a connection back costs
//! no system call. The socket stays registered, edge-triggered, all the while: an edge that the poller sees on a
//! connection that it does not own is left as a flag, and the owner looks at the flags before it lets go. Only what waits
//! to be sent is sent by the poller even then: the owner may be making the next part of a response for long.

pub mod access;
pub mod body;
pub mod exchange;
pub mod origin;
pub mod outgoing;
pub(crate) mod ownership;
pub mod request;
pub(crate) mod slots;
pub(crate) mod unread;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use crate::config::options::Options;
use crate::connection::exchange::Exchange;
use crate::connection::outgoing::Flushed;
use crate::connection::ownership::Ownership;
use crate::connection::unread::Unread;
use crate::net::Peer;
use crate::net::edges::WRITABLE;
use crate::net::listener::Accepted;
use crate::net::transfer::Ticket;

/// Names a connection within its server; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConnectionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    pub(crate) fn token(self) -> mio::Token {
        mio::Token((self.generation as usize) << 32 | self.slot as usize)
    }

    pub(crate) fn of_token(token: mio::Token) -> Self {
        Self { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

/// One client's connection.
pub struct Connection {
    id: ConnectionId,
    peer: Peer,
    listener: usize,
    pub(crate) owner: Ownership,
    /// It waits in one of the poller's own queues; the poller's to read and write.
    pub(crate) queued: AtomicBool,
    /// The rest of its response is made by a thread of the application's own: a stop waits for no such.
    apart: AtomicBool,
    /// By what Ruby knows the fiber that serves its request and is to hear when the client goes; 0 when there is none.
    fiber: AtomicU64,
    /// Which connection carries it, if it is one of several requests of HTTP/2.
    carrier: Option<ConnectionId>,
    exchange: Mutex<Exchange>,
}

/// Whether `peer` may name another client. A peer that can open a UNIX socket may.
fn is_proxy(peer: Peer, options: &Options) -> bool {
    match peer {
        Peer::Ip(ip, _) => options.proxies.iter().any(|network| network.contains(ip)),
        Peer::Unix => true,
        Peer::Unknown => false,
    }
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        listener: usize,
        Accepted { stream, peer, ticket }: Accepted,
        options: &Options,
        unread: &Arc<Unread>,
        now: Instant,
    ) -> Self {
        let mut exchange = Exchange::new(stream, options, unread, now);
        let mut listener = listener;
        if let Some(ticket) = ticket {
            exchange.go_on_with(ticket);
            listener = ticket.listener as usize;
        } else if !options.proxies.is_empty() && !is_proxy(peer, options) {
            exchange.expect_no_proxy(options);
        }
        let exchange = Mutex::new(exchange);
        Self {
            id,
            peer,
            listener,
            owner: Ownership::new(),
            queued: AtomicBool::new(false),
            apart: AtomicBool::new(false),
            fiber: AtomicU64::new(0),
            carrier: None,
            exchange,
        }
    }

    /// One of the requests that this connection carries.
    pub(crate) fn carry(&self, id: ConnectionId, exchange: Exchange) -> Self {
        Self {
            id,
            peer: self.peer,
            listener: self.listener,
            owner: Ownership::new(),
            queued: AtomicBool::new(false),
            apart: AtomicBool::new(false),
            fiber: AtomicU64::new(0),
            carrier: Some(self.id),
            exchange: Mutex::new(exchange),
        }
    }

    /// The connection that carries it, if it is one of several requests of HTTP/2.
    pub(crate) fn carrier(&self) -> Option<ConnectionId> {
        self.carrier
    }

    /// Its name.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The other end, as accept(2) told it.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Which of the server's listeners it came by, in the order in which they were added.
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// What another worker must know of it besides its socket.
    pub(crate) fn ticket(&self, exchange: &Exchange) -> Ticket {
        Ticket {
            peer: self.peer,
            listener: self.listener as u32,
            serial: exchange.served(),
            client: exchange.client(),
        }
    }

    /// For the owner only; others would wait here.
    pub(crate) fn exchange(&self) -> MutexGuard<'_, Exchange> {
        // A panic in the middle of an exchange loses that connection's framing, not the lock.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the poller when it is not the owner. The thread that has the exchange now looks at
    /// [`Ownership::take_writable`] after it.
    pub(crate) fn try_exchange(&self) -> Option<MutexGuard<'_, Exchange>> {
        match self.exchange.try_lock() {
            Ok(exchange) => Some(exchange),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Sends more of a response that is being made; `true` when the socket may take yet more.
    pub(crate) fn send_more(&self, exchange: &mut Exchange) -> bool {
        self.owner.take_writable();
        exchange.saw(WRITABLE);
        matches!(exchange.flush(), Ok(Flushed::More))
    }

    /// As [`Connection::send_more`], by the poller, which owns no connection whose response is being made.
    pub(crate) fn send_more_if_free(&self) -> bool {
        Ownership::see_each_other();
        self.try_exchange().is_some_and(|mut exchange| self.send_more(&mut exchange))
    }

    pub(crate) fn is_apart(&self) -> bool {
        self.apart.load(Ordering::Acquire)
    }

    pub(crate) fn set_apart(&self, apart: bool) {
        self.apart.store(apart, Ordering::Release);
    }

    /// The fiber that is to hear when the client goes; 0 when there is none.
    pub(crate) fn fiber(&self) -> u64 {
        self.fiber.load(Ordering::Acquire)
    }

    /// From now on that is `fiber`, or nobody (0). By that fiber's thread.
    pub(crate) fn set_fiber(&self, fiber: u64) {
        self.fiber.store(fiber, Ordering::Release);
    }
}
