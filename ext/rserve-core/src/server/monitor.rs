//! The one native thread of a worker. It takes over whenever no Ruby thread polls: all of them may be inside the
//! application. While one waits in epoll there is nothing to do, and the monitor parks.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::SigSet;

use super::{Server, Status};
use crate::poller::TURN;
use crate::pool::Seat;
use crate::pool::staffing::{self, IDLE_AFTER, TICK};

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

    /// A leader stopped polling, or does not see what is to be done: if the monitor sleeps, it has to look after things
    /// again.
    pub(crate) fn rouse(&self) {
        // Whoever calls this made something to do, and the monitor looks for it after it has set its flags: one of the
        // two sees the other.
        fence(Ordering::SeqCst);
        if self.state.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Something is to be done within a tick.
    pub(crate) fn hurry(&self) {
        fence(Ordering::SeqCst);
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
    let mut spent = None;
    loop {
        let Some(strong) = server.upgrade() else { return };
        if strong.status() == Status::Done {
            return;
        }
        let told = strong.options.suspensions_told;
        let held_back = strong.uncork(Instant::now());
        spent = strong.weigh_large(spent);
        let leading = strong.leading.load(Ordering::Acquire);
        // A leader that sleeps does not see a request that another thread made ready and then stood back from.
        let ready = strong.backlog.len() > 0;
        let on_call = held_back || strong.backlog.kept() > 0;
        let look = strong.look(last.as_ref());
        if !leading || ready {
            strong.tick(&look);
        }
        quiet = if leading && !on_call && !ready { quiet + pause } else { Duration::ZERO };
        pause = staffing::rest(pause, told, !on_call && (leading || look.polled));
        last = Some(look);
        if quiet < IDLE_AFTER {
            state.resting.store(pause > TICK, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // Something may have come meanwhile from somebody who did not see the flag.
            if pause > TICK && strong.needs_monitor() {
                pause = TICK;
            }
            let unfinished = strong.have_unfinished();
            drop(strong);
            seat.park(Some(if unfinished { TURN } else { pause }));
            state.resting.store(false, Ordering::SeqCst);
            continue;
        }
        state.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Something may have come between the look and the flag, from somebody who did not see the flag.
        let idle =
            strong.leading.load(Ordering::SeqCst) && strong.backlog.len() == 0 && !strong.needs_monitor();
        drop(strong);
        if idle {
            seat.park(None);
        }
        state.parked.store(false, Ordering::SeqCst);
        quiet = Duration::ZERO;
        pause = TICK;
    }
}
