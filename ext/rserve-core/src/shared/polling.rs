//! Which thread polls, and what it left undone.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Default)]
pub(crate) struct Polling {
    /// Turns done so far.
    pub(crate) turns: AtomicU64,
    /// The process has used so much processor time of late as if one of its threads computed.
    pub(crate) computes: AtomicBool,
    /// Milliseconds of the server's time when a pool thread last polled before it looked for a request.
    pub(crate) last_turn: AtomicU64,
    /// A Ruby thread waits in epoll.
    leading: AtomicBool,
    /// Connections have more to do that nobody with the GVL should go on with, or than one turn allowed.
    unfinished: AtomicBool,
    /// Milliseconds of the server's time, and one, since when a connection waits that was left to other workers; 0 when
    /// none does.
    left_since: AtomicU64,
}

impl Polling {
    /// A Ruby thread is about to wait in epoll, or is done with it. SeqCst here and in [`Polling::is_led`]: of a thread
    /// that sets this and looks for something to do, and one that makes something to do and looks at this, one sees the
    /// other.
    pub(crate) fn lead(&self, leads: bool) {
        self.leading.store(leads, Ordering::SeqCst);
    }

    /// Whether a Ruby thread waits in epoll.
    pub(crate) fn is_led(&self) -> bool {
        self.leading.load(Ordering::SeqCst)
    }

    /// Whether a thread without the GVL is to go on polling soon: `true` when somebody has to be told.
    pub(crate) fn note_unfinished(&self, wait: bool) -> bool {
        // Most servers have none, and this word would travel between processors for nothing.
        if self.unfinished.load(Ordering::Relaxed) == wait {
            return false;
        }
        self.unfinished.store(wait, Ordering::SeqCst);
        wait
    }

    /// Whether a connection `waits` that was left to other workers, at this millisecond.
    pub(crate) fn note_left(&self, waits: bool, millis: u64) {
        let before = self.left_since.load(Ordering::Relaxed);
        if waits != (before > 0) {
            self.left_since.store(if waits { millis + 1 } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Whether one has waited for so many milliseconds.
    pub(crate) fn has_left_one_for(&self, least: u64, millis: u64) -> bool {
        let since = self.left_since.load(Ordering::Relaxed);
        since > 0 && millis + 1 >= since + least
    }

    pub(crate) fn has_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::SeqCst)
    }
}
