//! The pool's threads: how many there are, should be and may be.

use crate::config::options::Options;
use crate::pool::{PoolSize, Seat};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) struct Threads {
    pub(crate) size: PoolSize,
    /// Those that exist or are being made.
    pub(crate) spawned: AtomicUsize,
    /// Those that serve a request.
    busy: AtomicUsize,
    /// Those that wait for one.
    pub(crate) waiting: AtomicUsize,
    /// Those that were asked to leave and have not yet.
    trim_wanted: AtomicUsize,
    pub(crate) spawn_wanted: AtomicBool,
    /// Milliseconds of the server's time until which no thread is made: none could be.
    pub(crate) short_until: AtomicU64,
    /// No request is to be started: something runs that wants the process to itself (`out_of_band`).
    held: AtomicBool,
    /// A request was served since the server was last held.
    served_since: AtomicBool,
    /// Where the thread waits that makes the others.
    pub(crate) manager: Seat,
}

impl Threads {
    pub(crate) fn new(options: &Options) -> Self {
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

    /// How many serve a request. SeqCst, as all that is looked at by one thread after it has told another.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// The calling thread counts as busy from here on, for a request that it is about to take; `false` when none may be
    /// started.
    pub(crate) fn begin(&self) -> bool {
        // Counted before the look at `held`, as `hold` looks at the count after setting it: one sees the other.
        self.busy.fetch_add(1, Ordering::SeqCst);
        let begins = !self.held.load(Ordering::SeqCst);
        if !begins {
            self.end();
        }
        begins
    }

    /// The calling thread serves no request any more, or found none: how many were busy with it.
    pub(crate) fn end(&self) -> usize {
        self.busy.fetch_sub(1, Ordering::SeqCst)
    }

    /// A request was served.
    pub(crate) fn note_served(&self) {
        if !self.served_since.load(Ordering::Relaxed) {
            self.served_since.store(true, Ordering::SeqCst);
        }
    }

    /// Keeps requests from being started, if there is no work, but was some since this last said yes; else nothing is
    /// kept, and it says no.
    pub(crate) fn hold(&self, work: impl FnOnce() -> usize) -> bool {
        if !self.served_since.load(Ordering::SeqCst) || self.held.swap(true, Ordering::SeqCst) {
            return false;
        }
        let alone = work() == 0 && self.served_since.swap(false, Ordering::SeqCst);
        if !alone {
            self.resume();
        }
        alone
    }

    /// As [`Threads::hold`], whether there was any work before or not.
    pub(crate) fn hold_idle(&self, work: impl FnOnce() -> usize) -> bool {
        if self.held.swap(true, Ordering::SeqCst) {
            return false;
        }
        let alone = work() == 0;
        if !alone {
            self.resume();
        }
        alone
    }

    /// Ends [`Threads::hold`] and [`Threads::hold_idle`].
    pub(crate) fn resume(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Asks so many to leave; after this, as many that wait are to be woken.
    pub(crate) fn ask_to_leave(&self, count: usize) {
        self.trim_wanted.fetch_add(count, Ordering::SeqCst);
    }

    /// How many were asked to leave and have not yet.
    pub(crate) fn leaving(&self) -> usize {
        self.trim_wanted.load(Ordering::SeqCst)
    }

    /// Whether the calling thread is the one that was asked to leave.
    pub(crate) fn take_trim(&self) -> bool {
        self.trim_wanted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |wanted| wanted.checked_sub(1))
            .is_ok()
    }
}
