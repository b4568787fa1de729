//! The one native thread of a worker. It takes over whenever no Ruby thread polls: all of them may be inside the
//! application. While one waits in epoll there is nothing to do, and the monitor parks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::SigSet;

use crate::backlog::Seat;
use crate::server::{Server, Status};
use crate::thread_pool::{self, IDLE_AFTER, TICK};

#[derive(Default)]
struct State {
    /// It sleeps until it is woken.
    parked: AtomicBool,
    /// It sleeps for more than a tick.
    resting: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Monitor {
    seat: Arc<Seat>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    pub(crate) fn start(&self, server: &Arc<Server>) -> io::Result<()> {
        let server = Arc::downgrade(server);
        let (seat, state) = (Arc::clone(&self.seat), Arc::clone(&self.state));
        let builder = thread::Builder::new().name("rserve monitor".into());
        // A new thread inherits the mask: block everything first, so that no signal is ever delivered to it.
        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let spawned = builder.spawn(move || watch(&server, &seat, &state));
        before.thread_set_mask()?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned?);
        Ok(())
    }

    /// A leader stopped polling: if the monitor sleeps, it has to look after things again.
    pub(crate) fn rouse(&self) {
        if self.state.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Something is to be done within a tick.
    pub(crate) fn hurry(&self) {
        if self.state.parked.load(Ordering::SeqCst) || self.state.resting.load(Ordering::SeqCst) {
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

fn watch(server: &Weak<Server>, seat: &Seat, state: &State) {
    let mut quiet = Duration::ZERO;
    let mut pause = TICK;
    let mut last = None;
    loop {
        let Some(strong) = server.upgrade() else { return };
        if strong.status() == Status::Done {
            return;
        }
        let told = strong.options.suspensions_told;
        let held_back = strong.uncork(Instant::now());
        let leading = strong.leading.load(Ordering::Acquire);
        let look = strong.look(last.as_ref());
        if !leading {
            strong.tick(&look);
        }
        quiet = if leading && !held_back { quiet + pause } else { Duration::ZERO };
        pause = thread_pool::rest(pause, told, !held_back && (leading || look.polled));
        last = Some(look);
        if quiet < IDLE_AFTER {
            state.resting.store(pause > TICK, Ordering::SeqCst);
            // Something may have come meanwhile from somebody who did not see the flag.
            if pause > TICK && (strong.has_corked() || strong.have_handshakes()) {
                pause = TICK;
            }
            drop(strong);
            seat.park(Some(pause));
            state.resting.store(false, Ordering::SeqCst);
            continue;
        }
        state.parked.store(true, Ordering::SeqCst);
        // Something may have come between the look and the flag, from somebody who did not see the flag.
        let idle = strong.leading.load(Ordering::SeqCst) && !strong.uncork(Instant::now());
        drop(strong);
        if idle {
            seat.park(None);
        }
        state.parked.store(false, Ordering::SeqCst);
        quiet = Duration::ZERO;
        pause = TICK;
    }
}
