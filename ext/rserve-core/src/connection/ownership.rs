//! Which thread owns a connection, what edges its owner has not seen, and when it is given up: in atomics, without a
//! socket.

use crate::net::edges::{EDGES, ENDED, WRITABLE};
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

/// Owned by a Ruby thread, or queued for one; beside the edges that came meanwhile.
const BUSY: u8 = 1;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// See the module. At first the poller owns it, and there is no deadline.
pub(crate) struct Ownership {
    state: AtomicU8,
    /// Milliseconds after the server's epoch, or [`NEVER`]. Only the owner sets it.
    deadline: AtomicU64,
}

impl Ownership {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(0), deadline: AtomicU64::new(NEVER) }
    }

    /// The poller saw `edges`: whether it owns the connection and may go on with it.
    pub(crate) fn saw(&self, edges: u8) -> bool {
        if self.state.fetch_or(edges, Ordering::AcqRel) & BUSY != 0 {
            return false;
        }
        self.state.fetch_and(!EDGES, Ordering::AcqRel);
        true
    }

    /// The poller gives the connection to a Ruby thread.
    pub(crate) fn occupy(&self) {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.state.fetch_or(BUSY, Ordering::AcqRel);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.state.load(Ordering::Acquire) & BUSY != 0
    }

    /// The busy owner lets go as soon as no edge has come that it has not looked at. Before, and after each such edge, it
    /// goes on by `progress`, which says whether nothing is left to do; else, as with the next request, it stays the owner.
    pub(crate) fn let_go(&self, mut progress: impl FnMut(u8) -> bool) {
        while progress(self.take_edges()) {
            if self.release() {
                return;
            }
        }
        // An earlier round may have left one.
        self.set_deadline(NEVER);
    }

    /// The busy owner takes note of the edges that came since it last asked.
    fn take_edges(&self) -> u8 {
        self.state.swap(BUSY, Ordering::AcqRel) & EDGES
    }

    /// `false` when an edge came that the busy owner has not looked at.
    fn release(&self) -> bool {
        self.state.compare_exchange(BUSY, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the socket has said, since this was last asked, that it takes more.
    pub(crate) fn take_writable(&self) -> bool {
        self.state.fetch_and(!WRITABLE, Ordering::AcqRel) & WRITABLE != 0
    }

    /// Whether the peer's end is among the edges that the busy owner has not looked at.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) & ENDED != 0
    }

    /// Between [`Ownership::saw`] and looking whether the exchange is free, and between leaving the exchange and
    /// [`Ownership::take_writable`]: one of the two sees the other. The same holds for who is to be told of the peer's end,
    /// and [`Ownership::has_ended`].
    pub(crate) fn see_each_other() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// By the owner; others learn of it by [`Deadlines::set`](crate::shared::Deadlines::set).
    pub(crate) fn set_deadline(&self, millis: u64) {
        self.deadline.store(millis, Ordering::Relaxed);
    }

    /// Whether the poller is to give the connection up: it owns it, and the deadline has passed. In this order: a thread
    /// that let go of it meanwhile may have set another deadline.
    pub(crate) fn take_overdue(&self, millis: u64) -> bool {
        if !self.saw(0) || self.deadline() > millis {
            return false;
        }
        self.set_deadline(NEVER);
        true
    }
}
