//! Where a server is in its life, and whose it is.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::sys::forks;

/// A server's life: `New → Running → Retiring → Draining → Done`; not every server retires.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Status {
    /// Listeners may be added; nothing is accepted.
    New,
    /// Serving.
    Running,
    /// Serving, and saying goodbye: no connection is kept beyond its next response.
    Retiring,
    /// Accepting no more; what was accepted is being answered.
    Draining,
    /// Nothing more is served; threads leave.
    Done,
}

pub(crate) struct Life {
    status: AtomicU8,
    evicting: AtomicBool,
    drain_told: AtomicBool,
    open: AtomicBool,
    /// The process that it was made in ([`crate::sys::forks`]).
    home: u32,
}

impl Life {
    pub(super) fn new() -> Self {
        forks::watch();
        Self {
            status: AtomicU8::new(Status::New as u8),
            evicting: AtomicBool::new(false),
            drain_told: AtomicBool::new(false),
            open: AtomicBool::new(false),
            home: forks::generation(),
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::New,
            1 => Status::Running,
            2 => Status::Retiring,
            3 => Status::Draining,
            _ => Status::Done,
        }
    }

    /// `false` when it has begun before.
    pub(super) fn begin(&self) -> bool {
        let started = self.status.compare_exchange(
            Status::New as u8,
            Status::Running as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        started.is_ok()
    }

    /// Does nothing unless it is running.
    pub(crate) fn retire(&self) {
        if self.is_at_home() {
            let (from, to) = (Status::Running as u8, Status::Retiring as u8);
            let _ = self.status.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// `false` when it is as far already, or not this process's to say.
    pub(super) fn advance(&self, status: Status) -> bool {
        self.is_at_home() && self.status.fetch_max(status as u8, Ordering::AcqRel) < status as u8
    }

    /// Whether this process is the one that it was made in.
    pub(crate) fn is_at_home(&self) -> bool {
        self.home == forks::generation()
    }

    /// Every connection that is not with the application is to be given up.
    pub(crate) fn evict(&self) {
        self.evicting.store(true, Ordering::Release);
    }

    /// Whether [`Life::evict`] was called since the last time.
    pub(crate) fn take_eviction(&self) -> bool {
        self.evicting.swap(false, Ordering::AcqRel)
    }

    /// A server that waits for this takes connections from now on.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Whether [`Life::open`] was called.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Whether it drains and this was not asked before.
    pub(crate) fn begins_to_drain(&self) -> bool {
        self.status() == Status::Draining && !self.drain_told.swap(true, Ordering::AcqRel)
    }
}
