//! A worker's side of the balance: it shows the others how busy it is, and asks before it takes a connection.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::{Balancer, Place, Verdict, WorkerLoad};
use crate::net::transfer::{Ticket, Transfers};

/// How often a worker looks whether it has connections to pass on.
const WEIGH_EVERY: Duration = Duration::from_millis(1);

/// How long a worker whose threads do not get on leaves connections to others, where it turns requests away.
const LONGEST_UNQUEUED: Duration = Duration::from_millis(250);

/// The gate between the listeners that all workers share and one of them.
#[derive(Debug)]
pub struct Gate {
    place: Place,
    balancer: Balancer,
    others: Vec<WorkerLoad>,
    open: bool,
    surplus: u32,
    weighed_at: Option<Instant>,
    /// When it was first seen how many requests the threads have begun.
    begun_at: Option<Instant>,
    /// See [`Balancer::queue_after`].
    takes_without_threads: bool,
    /// See [`WorkerLoad::cold`].
    cold: bool,
    /// Workers serve that are not on the board: those of the generation before.
    succeeds: bool,
}

impl Gate {
    /// Closed; see [`Gate::open`].
    pub fn new(place: Place) -> Self {
        Self {
            place,
            balancer: Balancer::default(),
            others: Vec::new(),
            open: false,
            surplus: 0,
            weighed_at: None,
            begun_at: None,
            takes_without_threads: false,
            cold: false,
            succeeds: false,
        }
    }

    /// If `answer`, connections are taken after a while though no thread is free anywhere: requests that wait for too long are
    /// turned away here, or files, which need no thread, are answered with.
    #[must_use]
    pub fn taking_without_threads(self, answer: bool) -> Self {
        Self { takes_without_threads: answer, ..self }
    }

    /// The workers of another generation serve until this one does.
    pub fn succeeds_others(&mut self) {
        self.succeeds = true;
        if self.balancer.begun() == 0 {
            self.begin_cold();
        }
    }

    /// Where connections wait that workers pass on to each other.
    pub fn transfers(&self) -> &Arc<Transfers> {
        self.place.transfers()
    }

    /// Where the worker's figures are shown.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// From now on the worker takes connections, with so many threads. May be repeated.
    pub fn open(&mut self, threads: usize) {
        if !std::mem::replace(&mut self.open, true) {
            self.place.open(u32::try_from(threads).unwrap_or(u32::MAX));
            // Workers that begin together have nobody to leave a connection to.
            if self.place.begun_by_all() > 0 {
                self.begin_cold();
            }
        }
    }

    fn begin_cold(&mut self) {
        self.cold = true;
        self.place.begin_cold();
    }

    /// From now on it takes none. `true` when other workers do: they may have what waits.
    pub fn close(&mut self) -> bool {
        self.open = false;
        self.place.close();
        // When two workers close at the same time, at least one of them must see the other closed.
        fence(Ordering::SeqCst);
        self.place.others(&mut self.others);
        self.balancer.any_alive(&self.others)
    }

    /// Shows the figures of this moment, see [`Place::report`], at least every few milliseconds while threads serve; `begun` is how many requests threads have begun so far,
    /// and `large` how many of them were large.
    pub fn report(&mut self, work: usize, connections: usize, begun: u64, large: u64, now: Instant) {
        if self.balancer.begun() != begun || self.begun_at.is_none() {
            self.begun_at = Some(now);
        }
        self.balancer.has_begun(begun);
        let figure = |count| u32::try_from(count).unwrap_or(u32::MAX);
        self.place.report(figure(work), figure(connections), begun.wrapping_sub(large) as u32);
        if self.cold && Balancer::is_warm(begun, figure(work), self.stalled(now)) {
            self.cold = false;
            self.place.end_cold();
        }
    }

    /// Whether a connection on which a request begins now had better be passed on, by the figures last reported;
    /// `computes` as [`Balancer::surplus`] has it.
    pub fn has_surplus(&mut self, computes: impl FnOnce() -> bool, now: Instant) -> bool {
        if self.weighed_at.is_none_or(|at| now >= at + WEIGH_EVERY) {
            self.weigh(computes(), now);
        }
        self.open && self.surplus > 0
    }

    /// Passes a connection on; `false` when there is no room for it, and it stays the caller's.
    pub fn pass_on(&mut self, socket: BorrowedFd<'_>, ticket: Ticket) -> bool {
        self.surplus = self.surplus.saturating_sub(1);
        self.transfers().offer(socket, ticket).is_ok()
    }

    /// How long no thread has begun a request.
    fn stalled(&self, now: Instant) -> Duration {
        self.begun_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    fn weigh(&mut self, computes: bool, now: Instant) {
        let stalled = self.stalled(now);
        self.weighed_at = Some(now);
        self.place.others(&mut self.others);
        let own = self.place.own();
        self.surplus = self.balancer.surplus(own, &self.others, computes, stalled);
        // Those on their way count for nobody yet.
        if self.surplus > 0 && !own.is_slow() && crate::sys::is_readable(self.transfers().as_fd()) {
            self.surplus = 0;
        }
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
        if self.takes_without_threads {
            self.balancer.queue_after(Some(self.stalled(now).min(LONGEST_UNQUEUED)));
        }
        let mut own = self.place.own();
        own.cold &= self.succeeds || !self.others.is_empty();
        let siblings = self.place.has_siblings() || (own.cold && self.succeeds);
        match self.balancer.verdict(own, &self.others, siblings, now) {
            Verdict::Accept => Ok(()),
            Verdict::Leave { look_again } => Err(one_waits().then_some(look_again)),
        }
    }

    /// No connection waits that was left to others, at any listener.
    pub fn nothing_waits(&mut self) {
        self.balancer.nothing_waits();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::cluster::PlaceId;
    use crate::cluster::balance::Board;
    use crate::net::Peer;
    use crate::tuning::LOOK_AGAIN;

    const MS: Duration = Duration::from_millis(1);

    fn gates() -> [Gate; 2] {
        let board = Board::new().unwrap();
        let mut gates = [0, 1].map(|index| Gate::new(board.place(PlaceId(index)).unwrap()));
        gates.iter_mut().for_each(|gate| gate.open(2));
        gates
    }

    #[test]
    fn requests_are_passed_on_that_would_wait_for_threads_that_hang() {
        let [mut own, mut other] = gates();
        let now = Instant::now();
        other.report(0, 0, 1, 0, now);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ticket = Ticket { peer: Peer::Unknown, listener: 0, serial: 0, client: None };
        own.report(2, 3, 2, 0, now);
        assert!(!own.has_surplus(|| false, now + 9 * MS), "they may be fast");
        own.report(2, 3, 3, 0, now + 11 * MS);
        assert!(!own.has_surplus(|| false, now + 20 * MS), "they are");
        own.report(2, 3, 3, 0, now + 12 * MS);
        assert!(own.has_surplus(|| false, now + 21 * MS), "they were");
        for _ in 0..2 {
            assert!(own.has_surplus(|| false, now + 21 * MS), "one for each thread of the other worker");
            assert!(own.pass_on(listener.as_fd(), ticket));
        }
        assert!(!own.has_surplus(|| false, now + 21 * MS));
        assert!(!own.has_surplus(|| false, now + 22 * MS), "while the other has not taken them");
        own.transfers().take().unwrap();
        own.transfers().take().unwrap();
        assert!(own.has_surplus(|| false, now + 23 * MS));
        own.close();
        assert!(!own.has_surplus(|| false, now + 24 * MS), "who ends keeps what it has");
    }

    #[test]
    fn successor_of_others_takes_one_request_until_it_has_answered_it() {
        let board = Board::new().unwrap();
        let mut gate = Gate::new(board.place(PlaceId(0)).unwrap());
        gate.open(5);
        assert!(!gate.place().own().cold, "nobody else is there");
        gate.succeeds_others();
        let now = Instant::now();
        let left = Err(Some(LOOK_AGAIN));
        assert_eq!(gate.ask(|| true, now), Ok(()));
        gate.report(1, 1, 0, 0, now);
        assert_eq!(gate.ask(|| true, now), left, "one waits for a thread");
        gate.report(1, 1, 1, 0, now + MS);
        assert_eq!(gate.ask(|| true, now + MS), left, "a thread serves it");
        gate.report(0, 1, 1, 0, now + 2 * MS);
        assert_eq!(gate.ask(|| true, now + 2 * MS), Ok(()), "it is answered");
        gate.report(4, 4, 5, 0, now + 3 * MS);
        assert_eq!(gate.ask(|| true, now + 3 * MS), Ok(()), "from then on, as many as there are threads");
        assert!(!board.place(PlaceId(0)).unwrap().own().cold);
    }

    #[test]
    fn worker_is_new_beside_others_that_have_begun_requests() {
        let board = Board::new().unwrap();
        let mut gates = [0, 1, 2].map(|index| Gate::new(board.place(PlaceId(index)).unwrap()));
        let now = Instant::now();
        gates[0].open(5);
        gates[1].open(5);
        gates[0].report(0, 0, 1, 0, now);
        gates[2].open(5);
        gates[2].open(5);
        let [_, _, mut new] = gates;
        assert_eq!(
            [0, 1, 2].map(|index| board.place(PlaceId(index)).unwrap().own().cold),
            [false, false, true]
        );
        new.report(1, 1, 0, 0, now);
        assert_eq!(new.ask(|| true, now), Err(Some(LOOK_AGAIN)));
        [0, 1].into_iter().for_each(|index| board.vacate(PlaceId(index)));
        assert_eq!(new.ask(|| true, now), Ok(()), "the others are gone");
    }
}
