//! The pool's threads: how many there are, should be and may be.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::config::options::Options;
use crate::pool::{PoolSize, Seat};

pub(crate) struct Threads {
    pub(crate) size: PoolSize,
    /// Those that exist or are being made.
    pub(crate) spawned: AtomicUsize,
    /// Those that serve a request.
    pub(crate) busy: AtomicUsize,
    /// Those that wait for one.
    pub(crate) waiting: AtomicUsize,
    /// Those that were asked to leave and have not yet.
    pub(crate) trim_wanted: AtomicUsize,
    pub(crate) spawn_wanted: AtomicBool,
    /// Milliseconds of the server's time until which no thread is made: none could be.
    pub(crate) short_until: AtomicU64,
    /// No request is to be started: something runs that wants the process to itself (`out_of_band`).
    pub(crate) held: AtomicBool,
    /// A request was served since the server was last held.
    pub(crate) served_since: AtomicBool,
    /// Where the thread waits that makes the others.
    pub(crate) manager: Seat,
}

impl Threads {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            size: PoolSize::new(options),
            spawned: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            trim_wanted: AtomicUsize::new(0),
            spawn_wanted: AtomicBool::new(false),
            short_until: AtomicU64::new(0),
            held: AtomicBool::new(false),
            served_since: AtomicBool::new(false),
            manager: Seat::default(),
        }
    }

    /// Asks for one thread more.
    pub(crate) fn want_one(&self) {
        self.spawn_wanted.store(true, Ordering::Release);
        self.manager.wake();
    }

    /// Whether the calling thread is the one that was asked to leave.
    pub(crate) fn take_trim(&self) -> bool {
        self.trim_wanted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |wanted| wanted.checked_sub(1))
            .is_ok()
    }
}
