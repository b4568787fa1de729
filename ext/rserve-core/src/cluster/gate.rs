//! A worker's side of the balance: it shows the others how busy it is, and asks before it takes a connection.

use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::balance::{Balancer, Load, Verdict};
use super::board::Place;

/// The gate between the listeners that all workers share and one of them.
#[derive(Debug)]
pub struct Gate {
    place: Place,
    balancer: Balancer,
    others: Vec<Load>,
    open: bool,
}

impl Gate {
    /// Closed; see [`Gate::open`].
    pub fn new(place: Place) -> Self {
        Self { place, balancer: Balancer::default(), others: Vec::new(), open: false }
    }

    /// Where the worker's figures are shown.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// From now on the worker takes connections, with so many threads. May be repeated.
    pub fn open(&mut self, threads: usize) {
        if !std::mem::replace(&mut self.open, true) {
            self.place.open(u32::try_from(threads).unwrap_or(u32::MAX));
        }
    }

    /// From now on it takes none. `true` when other workers do: they may have what waits.
    pub fn close(&mut self) -> bool {
        self.open = false;
        self.place.close();
        // Of two that close at the same time, at least one must see the other closed.
        fence(Ordering::SeqCst);
        self.place.others(&mut self.others);
        self.balancer.any_alive(&self.others)
    }

    /// Shows the figures of this moment, see [`Place::report`]; `begun` is how many requests threads have begun so far.
    pub fn report(&mut self, work: usize, connections: usize, begun: u64) {
        self.balancer.has_begun(begun);
        let figure = |count| u32::try_from(count).unwrap_or(u32::MAX);
        self.place.report(figure(work), figure(connections));
    }

    /// Whether to take the next connection, by the figures last reported. `one_waits` is only called when not; if it says no
    /// for all listeners, [`Gate::nothing_waits`] is to follow.
    ///
    /// # Errors
    ///
    /// Not a failure: it is to be left to another worker. `Some` is the time after which to ask again, at the latest;
    /// `None` when none waits.
    pub fn ask(&mut self, one_waits: impl FnOnce() -> bool, now: Instant) -> Result<(), Option<Duration>> {
        self.place.others(&mut self.others);
        match self.balancer.verdict(self.place.own(), &self.others, now) {
            Verdict::Accept => Ok(()),
            Verdict::Leave { look_again } => Err(one_waits().then_some(look_again)),
        }
    }

    /// No connection waits that was left to others, at any listener.
    pub fn nothing_waits(&mut self) {
        self.balancer.nothing_waits();
    }
}
