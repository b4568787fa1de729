//! The one native thread of a worker. It takes over whenever no Ruby thread polls: all of them may be inside the
//! application. While one waits in epoll there is nothing to do, and the monitor parks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;
use std::{io, thread};

use nix::sys::signal::SigSet;

use crate::backlog::Seat;
use crate::server::{Server, Status};
use crate::thread_pool::{IDLE_TICKS, TICK};

#[derive(Default)]
pub(crate) struct Monitor {
    seat: Arc<Seat>,
    /// It sleeps until it is woken.
    parked: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    pub(crate) fn start(&self, server: &Arc<Server>) -> io::Result<()> {
        let server = Arc::downgrade(server);
        let (seat, parked) = (Arc::clone(&self.seat), Arc::clone(&self.parked));
        let builder = thread::Builder::new().name("rserve monitor".into());
        // A new thread inherits the mask: block everything first, so that no signal is ever delivered to it.
        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let spawned = builder.spawn(move || watch(&server, &seat, &parked));
        before.thread_set_mask()?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned?);
        Ok(())
    }

    /// A leader stopped polling: if the monitor sleeps, it has to look after things again.
    pub(crate) fn rouse(&self) {
        if self.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        self.seat.wake();
    }

    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn watch(server: &Weak<Server>, seat: &Seat, parked: &AtomicBool) {
    let mut quiet = 0;
    let (mut turns, mut since) = (0, Instant::now());
    loop {
        let Some(strong) = server.upgrade() else { return };
        if strong.status() == Status::Done {
            return;
        }
        let held_back = strong.uncork(Instant::now());
        let leading = strong.leading.load(Ordering::Acquire);
        if !leading {
            strong.tick(turns, since);
        }
        quiet = if leading && !held_back { quiet + 1 } else { 0 };
        turns = strong.turns.load(Ordering::Acquire);
        since = Instant::now();
        if quiet < IDLE_TICKS {
            drop(strong);
            seat.park(Some(TICK));
            continue;
        }
        parked.store(true, Ordering::SeqCst);
        // Something may have come between the look and the flag, from somebody who did not see the flag.
        let idle = strong.leading.load(Ordering::SeqCst) && !strong.uncork(Instant::now());
        drop(strong);
        if idle {
            seat.park(None);
        }
        parked.store(false, Ordering::SeqCst);
        quiet = 0;
    }
}
