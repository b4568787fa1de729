//! Where workers show each other how busy they are.
//!
//! The master makes the [`Board`] before it forks; every worker keeps its own
//! [`Place`] up to date and reads the others' before it takes a connection
//! ([`Balancer`](super::Balancer)). Plain atomic words in shared memory: a
//! worker that dies in the middle of anything leaves nothing locked.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::WorkerLoad;
use crate::cluster::PlaceId;
use crate::net::transfer::Transfers;
#[cfg(feature = "loom")]
use crate::sync::SharedWords;
use crate::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(not(feature = "loom"))]
use crate::sys::SharedWords;

/// Words of a place: a cache line, so that workers do not slow each other down.
const WORDS: usize = 16;

// The words of a place, by position. The first line of the board is no place; it counts those ever used.
const THREADS: usize = 0;
const WORK: usize = 1;
const CONNECTIONS: usize = 2;
const TURNS: usize = 3;
const BEGUN: usize = 4;
const LARGE: usize = 5;
const COLLECTS: usize = 6;
const COLD: usize = 7;

/// In the first line: why the last worker that could not boot could not, as a number; 0 for none.
const REASON: usize = 1;

// Values of LARGE, and of COLLECTS.
const SERVES: u32 = 1;
const ASKS: u32 = 2;

/// Figures of all workers of one cluster. Clones are the same board, and so are
/// those of every process forked after it was made.
#[derive(Clone, Debug)]
pub struct Board {
    words: Arc<SharedWords>,
    transfers: Arc<Transfers>,
}

impl Board {
    /// Workers with a higher number than this have no place, and take connections without looking.
    pub const PLACES: u32 = if cfg!(feature = "loom") { 2 } else { 511 };

    /// An empty board; to be made by the master before its first fork.
    ///
    /// # Errors
    ///
    /// No memory, or no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let count = NonZeroUsize::MIN.saturating_add((Self::PLACES as usize + 1) * WORDS - 1);
        Ok(Self { words: Arc::new(SharedWords::zeroed(count)?), transfers: Arc::new(Transfers::new()?) })
    }

    /// The place of this number; `None` when the board is too small.
    pub fn place(&self, id: PlaceId) -> Option<Place> {
        (id.0 < Self::PLACES).then(|| Place { board: self.clone(), id })
    }

    /// Wipes the place of a worker that is no more, so that nobody leaves
    /// connections to it.
    pub fn vacate(&self, id: PlaceId) {
        if let Some(place) = self.place(id) {
            place.close();
        }
    }

    /// Wipes the place of a worker that is no more, as [`Board::vacate`], for one that is about to come: it counts for
    /// [`Place::has_siblings`] from here on.
    pub fn prepare(&self, id: PlaceId) {
        self.vacate(id);
        if id.0 < Self::PLACES {
            self.used().fetch_max(id.0 + 1, Ordering::Relaxed);
        }
    }

    /// Whether a worker that cannot boot is the first to say why, or the first to have another reason than the last.
    pub fn is_news(&self, reason: u32) -> bool {
        self.line(0)[REASON].swap(reason.max(1), Ordering::Relaxed) != reason.max(1)
    }

    /// A worker has booted: whatever keeps the next one from it is news.
    pub fn forget_news(&self) {
        self.line(0)[REASON].store(0, Ordering::Relaxed);
    }

    fn line(&self, number: usize) -> &[AtomicU32] {
        &self.words[number * WORDS..][..WORDS]
    }

    fn used(&self) -> &AtomicU32 {
        &self.line(0)[0]
    }

    fn load(&self, id: PlaceId) -> WorkerLoad {
        let line = self.line(id.0 as usize + 1);
        let read = |word: usize| line[word].load(Ordering::Relaxed);
        WorkerLoad {
            place: id,
            threads: read(THREADS),
            work: read(WORK),
            connections: read(CONNECTIONS),
            turns: read(TURNS),
            large: read(LARGE) == SERVES,
            collects: read(COLLECTS) == SERVES,
            cold: read(COLD) != 0,
        }
    }

    /// The places of workers that take connections.
    fn open(&self) -> impl Iterator<Item = WorkerLoad> {
        let used = self.used().load(Ordering::Relaxed);
        (0..used).map(|id| self.load(PlaceId(id))).filter(|load| load.threads > 0)
    }
}

/// One worker's line of the board.
#[derive(Clone, Debug)]
pub struct Place {
    board: Board,
    id: PlaceId,
}

impl Place {
    /// From now on the worker takes connections, with so many threads (at least 1).
    pub fn open(&self, threads: u32) {
        self.report(0, 0, 0);
        self.end_large();
        self.end_collecting();
        self.end_cold();
        self.write(THREADS, threads.max(1));
        self.board.used().fetch_max(self.id.0 + 1, Ordering::Relaxed);
    }

    /// From now on the worker takes no connections: it pauses, drains or ends.
    pub fn close(&self) {
        self.write(THREADS, 0);
    }

    /// The worker has so many threads from now on (at least 1), if it takes connections.
    pub fn resize(&self, threads: u32) {
        let resized = |before| (before > 0).then_some(threads.max(1));
        let _ = self.line()[THREADS].fetch_update(Ordering::Relaxed, Ordering::Relaxed, resized);
    }

    /// Where connections wait that workers pass on to each other.
    pub fn transfers(&self) -> &Arc<Transfers> {
        &self.board.transfers
    }

    /// The figures of this moment: requests in the hands of threads or waiting
    /// for one, connections open, and how many requests but large ones were ever begun. Also a sign of life.
    pub fn report(&self, work: u32, connections: u32, begun: u32) {
        self.write(WORK, work);
        self.write(CONNECTIONS, connections);
        self.write(BEGUN, begun);
        self.line()[TURNS].fetch_add(1, Ordering::Relaxed);
    }

    /// Shows how many requests are in the hands of threads or wait for one, now and until the next figure. `work` is
    /// asked again until it stays what it was: another thread may have shown an older figure meanwhile.
    pub fn show_work(&self, work: impl Fn() -> usize) {
        let word = &self.line()[WORK];
        loop {
            let shown = work();
            word.store(u32::try_from(shown).unwrap_or(u32::MAX), Ordering::SeqCst);
            if work() == shown {
                break;
            }
        }
    }

    /// One connection less than in the last report.
    pub fn one_connection_less(&self) {
        // The report may know of it already.
        let less = |connections: u32| connections.checked_sub(1);
        let _ = self.line()[CONNECTIONS].fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Shows that this worker serves large requests, if `decide` says yes, which is given how many others do and how
    /// many workers there are; else that it does not. Gives what `decide` said. When two workers ask at the
    /// same time, at least one of them counts the other.
    pub fn begin_large(&self, decide: impl FnOnce(usize, usize) -> bool) -> bool {
        self.begin(LARGE, decide)
    }

    /// This worker serves no large request any more.
    pub fn end_large(&self) {
        self.write(LARGE, 0);
    }

    /// Others have answered requests and this one has not, see [`WorkerLoad::cold`].
    pub fn begin_cold(&self) {
        self.write(COLD, 1);
    }

    /// It has answered a request, see [`WorkerLoad::cold`].
    pub fn end_cold(&self) {
        self.write(COLD, 0);
    }

    /// As [`Place::begin_large`], of leaving what comes to the others, to collect garbage.
    pub fn begin_collecting(&self, decide: impl FnOnce(usize, usize) -> bool) -> bool {
        self.begin(COLLECTS, decide)
    }

    /// This worker takes what comes again.
    pub fn end_collecting(&self) {
        self.write(COLLECTS, 0);
    }

    fn begin(&self, word: usize, decide: impl FnOnce(usize, usize) -> bool) -> bool {
        self.line()[word].store(ASKS, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let others = || self.board.open().map(|load| load.place).filter(|id| *id != self.id);
        let so = |id: &PlaceId| self.board.line(id.0 as usize + 1)[word].load(Ordering::SeqCst) > 0;
        let begins = decide(others().filter(so).count(), others().count() + 1);
        self.write(word, if begins { SERVES } else { 0 });
        begins
    }

    /// Requests but large ones that all workers have begun, modulo 2³²: it differs from an earlier reading when there
    /// were some meanwhile.
    pub fn begun_by_all(&self) -> u32 {
        let used = self.board.used().load(Ordering::Relaxed) as usize;
        let begun = (1..=used).map(|line| self.board.line(line)[BEGUN].load(Ordering::Relaxed));
        begun.fold(0, u32::wrapping_add)
    }

    /// What this worker shows the others.
    pub fn own(&self) -> WorkerLoad {
        self.board.load(self.id)
    }

    /// What the other workers that take connections show, into `others`.
    pub fn others(&self, others: &mut Vec<WorkerLoad>) {
        others.clear();
        others.extend(self.board.open().filter(|load| load.place != self.id));
    }

    /// Whether there are other workers, or were: one that takes no connections now may boot, or be replaced.
    pub fn has_siblings(&self) -> bool {
        self.board.used().load(Ordering::Relaxed) > 1
    }

    fn line(&self) -> &[AtomicU32] {
        self.board.line(self.id.0 as usize + 1)
    }

    fn write(&self, word: usize, value: u32) {
        self.line()[word].store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(place: &Place) -> Vec<WorkerLoad> {
        let mut others = Vec::new();
        place.others(&mut others);
        others
    }

    #[test]
    fn reason_is_news_until_it_was_told_or_a_worker_has_booted() {
        let board = Board::new().unwrap();
        let told = [3, 3, 0, 4, 3].map(|reason| board.clone().is_news(reason));
        assert_eq!(told, [true, false, true, true, true]);
        board.forget_news();
        assert!(board.is_news(3));
        assert_eq!(board.used().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn workers_see_each_other_while_they_are_open() {
        let board = Board::new().unwrap();
        let (one, other) =
            (board.place(PlaceId(0)).unwrap(), board.place(PlaceId(Board::PLACES - 1)).unwrap());
        one.open(5);
        assert_eq!(others(&one), []);
        other.open(1);
        other.resize(3);
        other.begin_cold();
        other.report(2, 7, 9);
        let place = PlaceId(Board::PLACES - 1);
        let want = WorkerLoad {
            place,
            threads: 3,
            work: 2,
            connections: 7,
            turns: 2,
            large: false,
            collects: false,
            cold: true,
        };
        assert_eq!(others(&one), [want]);
        assert_eq!(other.own(), want);
        other.show_work(|| 1);
        other.one_connection_less();
        other.end_cold();
        assert_eq!(others(&one), [WorkerLoad { work: 1, connections: 6, cold: false, ..want }]);
        one.report(0, 0, u32::MAX);
        assert_eq!(one.begun_by_all(), 8);
        board.vacate(place);
        other.resize(3);
        assert_eq!(others(&one), []);
        assert!(board.place(PlaceId(Board::PLACES)).is_none());
    }
    #[test]
    fn workers_see_who_serves_large_requests() {
        let board = Board::new().unwrap();
        let [one, other, closed] = [0, 1, 2].map(|index| board.place(PlaceId(index)).unwrap());
        one.open(1);
        other.open(1);
        assert!(closed.begin_large(|serving, _| serving == 0), "it counts for nobody");
        assert!(one.begin_large(|serving, workers| (serving, workers) == (0, 2)));
        assert!(one.own().large);
        assert!(!other.begin_large(|serving, workers| (serving, workers) != (1, 2)));
        assert!(!other.own().large, "as it was told");
        one.end_large();
        assert!(other.begin_large(|serving, _| serving == 0));
        other.open(1);
        assert!(!other.own().large, "another process has the place now");
        assert!(one.begin_collecting(|collecting, workers| (collecting, workers) == (0, 2)));
        assert!(one.own().collects && !one.own().large);
        assert!(!other.begin_collecting(|collecting, _| collecting == 0));
        one.end_collecting();
        assert!(other.begin_collecting(|collecting, _| collecting == 0));
        other.open(1);
        assert!(!other.own().collects, "another process has the place now");
    }
}
