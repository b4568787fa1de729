//! A worker's place, as the process writes it that has it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::histogram::{self, OF_PARTS};
use super::layout::worker as at;
use super::layout::{self, FIGURES};
use super::seat::Seat;
use super::series::{self, Labels};
use super::{ConnectionState, Part, Shed, Telemetry, Timeout, WorkerState, exactly_now, now};
use crate::sys::forks;

/// What one process tells of itself: a worker, or the process of single mode. It is silent in a child that this process
/// forks, and when another process has been given its place.
#[derive(Clone, Debug)]
pub struct Worker {
    telemetry: Telemetry,
    place: usize,
    tenancy: u64,
    home: u32,
    /// How often figures were shown, or begun to be.
    turns: Arc<AtomicU64>,
    /// The same moment by two clocks.
    epoch: (Instant, u64),
}

impl Worker {
    /// The calling process has the place from now on.
    pub(super) fn new(telemetry: &Telemetry, place: usize) -> Self {
        forks::watch();
        let telemetry = telemetry.clone();
        let tenancy = telemetry.words[place + at::TENANCY].load(Ordering::Relaxed);
        let epoch = (Instant::now(), exactly_now());
        let home = forks::generation();
        let worker = Self { telemetry, place, tenancy, home, turns: Arc::default(), epoch };
        worker.set(at::PID, u64::from(std::process::id()));
        worker.beat();
        worker
    }

    /// `at` by the clock that all processes share.
    pub(super) fn nanoseconds(&self, at: Instant) -> u64 {
        let (instant, nanoseconds) = self.epoch;
        let since = at.saturating_duration_since(instant);
        nanoseconds + since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())
    }

    /// Whether the place is still this process's.
    fn is_mine(&self) -> bool {
        self.home == forks::generation() && self.word(at::TENANCY).load(Ordering::Relaxed) == self.tenancy
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        &self.telemetry.words[self.place + word]
    }

    fn words(&self, words: Range<usize>) -> &[AtomicU64] {
        &self.telemetry.words[self.place + words.start..self.place + words.end]
    }

    fn set(&self, word: usize, value: u64) {
        if self.is_mine() {
            self.word(word).store(value, Ordering::Relaxed);
        }
    }

    /// It lives, and Ruby's threads run.
    pub fn beat(&self) {
        self.set(at::HEARTBEAT, now());
    }

    /// From now on it is in this state.
    pub fn enter(&self, state: WorkerState) {
        self.set(at::STATE, state as u64);
    }

    /// Shows `figures`, which have changed. They are asked for again when another thread has begun to show them, too: it
    /// may be done already, and have shown newer ones. `waits` is given the figures and says whether a request waits for
    /// a thread, and whether it will wait for long because all of them are busy.
    pub fn show<const N: usize>(
        &self,
        figures: impl Fn() -> [u64; N],
        waits: impl Fn(&[u64; N]) -> (bool, bool),
    ) {
        const { assert!(N <= FIGURES) };
        if !self.is_mine() {
            return;
        }
        let mut turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        loop {
            let figures = figures();
            for (word, figure) in self.words(at::FIGURES_AT..at::FIGURES_AT + N).iter().zip(figures) {
                word.store(figure, Ordering::Relaxed);
            }
            self.show_saturation(waits(&figures));
            // As a fence and a load, and cheaper.
            match self.turns.compare_exchange(turn, turn, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(newer) => turn = newer,
            }
        }
    }

    /// A thread that is done takes the next request at once, so all are busy from when that was first seen until no
    /// request waits any more.
    fn show_saturation(&self, (waits, saturated): (bool, bool)) {
        let since = self.word(at::SATURATED);
        match since.load(Ordering::Relaxed) {
            0 if saturated => since.store(now(), Ordering::Relaxed),
            since_when if since_when > 0 && !waits => since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    /// A connection has gone from one state to another; `None` is none.
    pub fn connection(&self, from: Option<ConnectionState>, to: Option<ConnectionState>) {
        if from == to || !self.is_mine() {
            return;
        }
        let open = self.word(at::CONNECTIONS);
        let word = |state: ConnectionState| self.word(at::CONNECTIONS + state as usize);
        let counted = |state: &ConnectionState| *state != ConnectionState::Idle;
        if from.is_none() {
            open.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(from) = from.filter(counted) {
            word(from).fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(to) = to.filter(counted) {
            word(to).fetch_add(1, Ordering::Relaxed);
        }
        if to.is_none() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A request is over, so many nanoseconds after its head was complete.
    pub fn request(&self, labels: Labels, nanoseconds: u64) {
        if self.is_mine() {
            series::observe(self.words(at::SERIES..at::SEATS_USED), labels, nanoseconds);
        }
    }

    /// A part of a request took so many nanoseconds.
    pub fn part(&self, part: Part, nanoseconds: u64) {
        if self.is_mine() {
            let start = at::HISTOGRAMS + part as usize * histogram::WORDS;
            histogram::observe(self.words(start..start + histogram::WORDS), &OF_PARTS, nanoseconds);
        }
    }

    /// A request was not given to the application.
    pub fn shed(&self, reason: Shed) {
        self.count(at::SHED + reason as usize);
    }

    /// A request has passed a limit of its time.
    pub fn timeout(&self, limit: Timeout) {
        self.count(at::TIMEOUTS + limit as usize);
    }

    fn count(&self, word: usize) {
        if self.is_mine() {
            self.word(word).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A row for the calling thread; `None` when there are more threads than rows.
    pub fn seat(&self) -> Option<Seat> {
        if !self.is_mine() {
            return None;
        }
        (0..layout::SEATS).find_map(|row| {
            let start = at::SEATS_AT + row * layout::seat::WORDS;
            let seat = Seat::take(self.clone(), start)?;
            self.word(at::SEATS_USED).fetch_max(row as u64 + 1, Ordering::Relaxed);
            Some(seat)
        })
    }

    pub(super) fn row(&self, start: usize) -> Option<&[AtomicU64]> {
        self.is_mine().then(|| self.words(start..start + layout::seat::WORDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Index, Phase, PlaceId};

    #[test]
    fn the_child_of_an_application_tells_nothing() {
        let telemetry = Telemetry::new().unwrap();
        telemetry.prepare(PlaceId(0), Index(0), Phase(0));
        let worker = telemetry.worker(PlaceId(0)).unwrap();
        worker.connection(None, Some(ConnectionState::Idle));
        let child = Worker { home: worker.home + 1, ..worker };
        child.connection(Some(ConnectionState::Idle), None);
        child.shed(Shed::QueueTime);
        child.show(|| [7], |_| (true, true));
        assert!(child.seat().is_none());
        let told = telemetry.read().workers[0].clone();
        assert_eq!((told.connections[0], told.shed, told.figures[0]), (1, [0; 3], 0));
    }
}
