//! The one native thread of a worker. It takes over whenever no Ruby thread polls: all of them may be inside the
//! application. While one waits in epoll there is nothing to do, and the monitor parks.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::SigSet;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::cluster::Bell;
use crate::server::{Server, Status};
use crate::thread_pool::{self, IDLE_AFTER, TICK};

struct Shared {
    bell: Bell,
    /// Rings when all threads that serve have been away for a while; only where Ruby tells.
    alarm: Option<TimerFd>,
    armed: AtomicBool,
    /// It sleeps until it is woken.
    parked: AtomicBool,
    /// It sleeps for more than a tick.
    resting: AtomicBool,
}

pub(crate) struct Monitor {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    /// Not running yet; with an alarm if absences are told.
    pub(crate) fn new(absences_told: bool) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let alarm = absences_told.then(|| TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)).transpose()?;
        let off = || AtomicBool::new(false);
        let shared = Shared { bell: Bell::new()?, alarm, armed: off(), parked: off(), resting: off() };
        Ok(Self { shared: Arc::new(shared), thread: Mutex::default() })
    }

    pub(crate) fn start(&self, server: &Arc<Server>) -> io::Result<()> {
        let server = Arc::downgrade(server);
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new().name("rserve monitor".into());
        // A new thread inherits the mask: block everything first, so that no signal is ever delivered to it.
        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let spawned = builder.spawn(move || shared.watch(&server));
        before.thread_set_mask()?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned?);
        Ok(())
    }

    /// A leader stopped polling: if the monitor sleeps, it has to look after things again.
    pub(crate) fn rouse(&self) {
        if self.shared.parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Something is to be done within a tick.
    pub(crate) fn hurry(&self) {
        if self.shared.parked.load(Ordering::SeqCst) || self.shared.resting.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        self.shared.bell.ring();
    }

    /// Has [`Server::relieve`] called in `time`, unless [`Monitor::disarm`] comes before. A system call and no context
    /// switch; where it fails, the next look does.
    pub(crate) fn arm(&self, time: Duration) {
        if let Some(alarm) = &self.shared.alarm
            && !self.shared.armed.swap(true, Ordering::AcqRel)
        {
            let _ = alarm.set(Expiration::OneShot(time.into()), TimerSetTimeFlags::empty());
        }
    }

    pub(crate) fn disarm(&self) {
        if let Some(alarm) = &self.shared.alarm
            && self.shared.armed.load(Ordering::Acquire)
            && self.shared.armed.swap(false, Ordering::AcqRel)
        {
            let _ = alarm.unset();
        }
    }

    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self, server: &Weak<Server>) {
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
                self.resting.store(pause > TICK, Ordering::SeqCst);
                // Something may have come meanwhile from somebody who did not see the flag.
                if pause > TICK && (strong.has_corked() || strong.have_handshakes()) {
                    pause = TICK;
                }
                drop(strong);
                self.sleep(server, Some(Instant::now() + pause));
                self.resting.store(false, Ordering::SeqCst);
                continue;
            }
            self.parked.store(true, Ordering::SeqCst);
            // Something may have come between the look and the flag, from somebody who did not see the flag.
            let idle = strong.leading.load(Ordering::SeqCst) && !strong.uncork(Instant::now());
            drop(strong);
            if idle {
                self.sleep(server, None);
            }
            self.parked.store(false, Ordering::SeqCst);
            quiet = Duration::ZERO;
            pause = TICK;
        }
    }

    /// Sleeps until `deadline` or the bell; sees to the alarm meanwhile.
    fn sleep(&self, server: &Weak<Server>, deadline: Option<Instant>) {
        let alarm = self.alarm.as_ref().map(AsFd::as_fd);
        loop {
            // Fails only without memory.
            let _ = self.bell.wait(alarm.as_slice(), deadline);
            let rang = self.alarm.as_ref().is_some_and(|alarm| alarm.wait().is_ok());
            if rang && self.armed.swap(false, Ordering::AcqRel) {
                match server.upgrade() {
                    Some(strong) => strong.relieve(),
                    None => return,
                }
            }
            if self.bell.stop() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return;
            }
        }
    }
}
