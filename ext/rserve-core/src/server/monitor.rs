//! The one native thread of a worker. It takes over whenever no Ruby thread polls: all of them may be inside the
//! application. While one waits in epoll there is nothing to do, and the monitor parks.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Server, Status};
use crate::content::encoders::GIVEN_BACK_AFTER;
use crate::pool::large;
use crate::pool::staffing;
use crate::shared::MonitorBell;
use crate::sys::{native_thread, processor_time};
use crate::tuning::{IDLE_AFTER, TICK, TURN, WEIGH_LARGE_EVERY};

#[derive(Default)]
pub(super) struct Monitor {
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    pub(super) fn start(&self, server: &Arc<Server>) -> io::Result<()> {
        let bell = Arc::clone(&server.shared.monitor);
        let server = Arc::downgrade(server);
        let thread = native_thread("rserve monitor", move || watch(&server, &bell))?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    pub(super) fn join(&self, bell: &MonitorBell) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        bell.wake();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn watch(server: &Weak<Server>, bell: &MonitorBell) {
    let mut quiet = Duration::ZERO;
    let mut pause = TICK;
    let mut last = None;
    let mut spent = None;
    let mut given_back = None;
    bell.set_looking(true);
    loop {
        let Some(strong) = server.upgrade().filter(|server| server.status() != Status::Done) else {
            bell.set_looking(false);
            return;
        };
        let told = strong.shared.options.suspensions_told;
        let now = Instant::now();
        let held_back = strong.uncork(now);
        strong.turn_away(now);
        strong.turn_away_in_lane(now);
        strong.give_up_hung(now);
        spent = strong.weigh_large(spent);
        given_back = strong.give_back_encoders(given_back, now);
        let leading = strong.shared.polling.is_led();
        // A leader that sleeps does not see a request that another thread made ready and then stood back from.
        let ready = strong.shared.backlog.len() > 0;
        let on_call = held_back || strong.shared.backlog.kept() > 0;
        let look = strong.look(last.as_ref());
        if !leading || ready {
            strong.tick(&look);
        }
        strong.show();
        quiet = if leading && !on_call && !ready { quiet + pause } else { Duration::ZERO };
        let full = strong.is_full();
        let calm = staffing::is_calm(on_call, leading || look.polled, full || strong.is_computing());
        let brisk = last.as_ref().is_some_and(|last: &Look| look.is_brisk(last));
        pause = staffing::rest(pause, told || full, calm, brisk);
        last = Some(look);
        if quiet < IDLE_AFTER {
            bell.set_resting(pause > TICK);
            // Something may have come meanwhile from somebody who did not see the flag.
            if pause > TICK && strong.needs_monitor() {
                pause = TICK;
            }
            let unfinished = strong.shared.polling.has_unfinished();
            drop(strong);
            bell.rest(if unfinished { TURN } else { pause });
            continue;
        }
        let to_give_back = strong.encoders.are_there().then_some(GIVEN_BACK_AFTER);
        let limit = [strong.shared.calls.rest(Instant::now()), to_give_back].into_iter().flatten().min();
        bell.park(limit, move || {
            // For those who saw it looking.
            strong.show();
            let seen = to_give_back.is_some() || !strong.encoders.are_there();
            seen && strong.shared.polling.is_led()
                && strong.shared.backlog.len() == 0
                && !strong.needs_monitor()
        });
        quiet = Duration::ZERO;
        pause = TICK;
    }
}

impl Server {
    /// What the monitor sees now, and what has happened since `last`.
    fn look(&self, last: Option<&Look>) -> Look {
        let at = Instant::now();
        let (turns, begun) =
            (self.shared.polling.turns.load(Ordering::Acquire), self.shared.figures.requests());
        // Where it is not told who computes, it is guessed.
        let told = self.shared.options.suspensions_told;
        let spent = if told { Duration::ZERO } else { processor_time() };
        if !told && let Some(last) = last {
            let computes = staffing::has_computed(spent.saturating_sub(last.spent), at - last.at);
            self.shared.polling.computes.store(computes, Ordering::Relaxed);
        }
        let since = last.map_or(at, |last| last.at);
        let begun_at = last.filter(|last| last.begun == begun).map_or(at, |last| last.begun_at);
        Look {
            at,
            since,
            turns,
            polled: last.is_some_and(|last| last.turns != turns),
            begun,
            begun_at,
            spent,
        }
    }

    /// Polls if nobody does, and calls threads; see [`staffing`].
    fn tick(&self, look: &Look) {
        if (!look.polled || self.shared.polling.has_unfinished())
            && let Some(mut poller) = self.try_poller()
        {
            poller.turn(&self.shared, Some(Duration::ZERO));
            // Nobody else may be there to go on with it.
            self.shared.note_unfinished(poller.has_more());
        }
        let load = staffing::PoolLoad {
            polled: look.polled,
            ready: self.shared.backlog.len(),
            stale: self.shared.backlog.waits_since(look.since),
            told: self.shared.options.suspensions_told,
            computing: self.computing(),
            called: self.shared.backlog.called(),
            stalled: look.at - look.begun_at,
            parked: self.shared.backlog.parked(),
            spawned: self.shared.threads.spawned.load(Ordering::Acquire),
            max_threads: self.shared.threads.size.limit(),
        };
        let call = load.call();
        if call.wake > 0 {
            self.shared.backlog.call(call.wake, call.compete);
        }
        if call.spawn && !self.is_short() {
            self.shared.threads.want_one();
        }
        self.relieve_of_readers(look);
    }

    /// Whether something is to be done within a tick that nobody but the monitor may see.
    fn needs_monitor(&self) -> bool {
        !self.corked().is_empty()
            || self.shared.polling.has_unfinished()
            || self.shared.backlog.has_large()
            || self.shared.backlog.has_turned_away()
            || self.lane_may_turn_away()
    }

    /// Gives back encoders that are not needed now, if the `last` time was so long ago: to be called with what the last call gave.
    fn give_back_encoders(&self, last: Option<Instant>, now: Instant) -> Option<Instant> {
        if !self.encoders.are_there() {
            return None;
        }
        if last.is_some_and(|last| now - last >= GIVEN_BACK_AFTER) {
            self.encoders.give_back();
            return Some(now);
        }
        last.or(Some(now))
    }

    /// Lets more or fewer large requests be served at a time, here and in other workers, while there are some: to be
    /// called now and then with what the last call gave.
    pub(super) fn weigh_large(&self, last: Option<Spent>) -> Option<Spent> {
        if !self.shared.backlog.has_large() {
            return None;
        }
        let now = Spent { at: Instant::now(), cpu: processor_time() };
        let Some(last) = last else { return Some(now) };
        if now.at - last.at < WEIGH_LARGE_EVERY {
            return Some(last);
        }
        let load = |allowed, begun_at| large::LargeLoad {
            allowed,
            max_threads: self.shared.threads.size.limit(),
            wall: now.at - last.at,
            cpu: now.cpu.saturating_sub(last.cpu),
            stalled: now.at.saturating_duration_since(begun_at),
        };
        if self.shared.backlog.allow_large(load, now.at) {
            self.nudge();
        }
        Some(now)
    }
}

/// Processor time that the process had used by then.
#[derive(Clone, Copy)]
pub(super) struct Spent {
    at: Instant,
    cpu: Duration,
}

impl Look {
    /// Whether requests have been short since `last`.
    fn is_brisk(&self, last: &Self) -> bool {
        staffing::is_brisk(self.begun - last.begun, self.at - last.at)
    }
}

/// See [`Server::look`].
pub(super) struct Look {
    at: Instant,
    pub(super) since: Instant,
    turns: u64,
    /// Somebody polled between the two looks.
    polled: bool,
    begun: u64,
    begun_at: Instant,
    /// Processor time of the process so far, unless it is told who computes.
    spent: Duration,
}
