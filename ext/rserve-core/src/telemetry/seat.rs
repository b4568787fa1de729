//! A thread's row: what it serves, and how it spends its time.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Instant;

use super::layout::seat as at;
use super::{ThreadState, Worker, exactly_now};

/// One thread's row; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    worker: Worker,
    start: usize,
}

/// How the thread of a request has spent its time, in nanoseconds. Where Ruby does not tell, all of it counts as
/// `running`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spent {
    /// It ran.
    pub running: u64,
    /// It waited for the GVL.
    pub gvl: u64,
    /// It waited for something else.
    pub io: u64,
}

impl Seat {
    pub(super) fn take(worker: Worker, start: usize) -> Option<Self> {
        let row = worker.row(start)?;
        row[at::TAKEN].compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        for word in &row[1..] {
            word.store(0, Ordering::Relaxed);
        }
        Some(Self { worker, start })
    }

    fn row(&self) -> Option<&[AtomicU64]> {
        self.worker.row(self.start)
    }

    /// The thread begins a request at `now`.
    pub fn begin(&self, method: &[u8], path: &[u8], now: Instant) {
        let Some(row) = self.row() else { return };
        let now = self.worker.nanoseconds(now);
        let version = row[at::VERSION].load(Ordering::Relaxed) | 1;
        row[at::VERSION].store(version, Ordering::Relaxed);
        fence(Ordering::Release);
        write(&row[at::METHOD..at::PATH], &row[at::METHOD_LEN], method);
        write(&row[at::PATH..], &row[at::PATH_LEN], path);
        for word in &row[at::SPENT..at::SPENT + ThreadState::COUNT] {
            word.store(0, Ordering::Relaxed);
        }
        row[at::BEGAN].store(now, Ordering::Relaxed);
        row[at::SINCE].store(now, Ordering::Relaxed);
        row[at::STATE].store(ThreadState::Running as u64, Ordering::Relaxed);
        row[at::VERSION].store(version + 1, Ordering::Release);
    }

    /// If the thread is in the middle of a request, it goes on to another state.
    pub fn change(&self, state: ThreadState) {
        let Some(row) = self.row() else { return };
        if row[at::STATE].load(Ordering::Relaxed) == ThreadState::Idle as u64 {
            return;
        }
        let now = exactly_now();
        let before = row[at::STATE].swap(state as u64, Ordering::Relaxed);
        let since = row[at::SINCE].swap(now, Ordering::Relaxed);
        if let Some(spent) = row.get(at::SPENT..at::METHOD_LEN).and_then(|spent| spent.get(before as usize)) {
            spent.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// The thread is done with its request: how it has spent its time. `None` when it had none.
    pub fn end(&self) -> Option<Spent> {
        let row = self.row()?;
        if row[at::BEGAN].load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.change(ThreadState::Idle);
        row[at::BEGAN].store(0, Ordering::Relaxed);
        count_served(row);
        Some(spent(row))
    }

    /// The thread is done with its request; how it has spent its time nobody knows.
    pub fn rest(&self) {
        let Some(row) = self.row() else { return };
        if row[at::BEGAN].load(Ordering::Relaxed) > 0 {
            row[at::BEGAN].store(0, Ordering::Relaxed);
            row[at::STATE].store(ThreadState::Idle as u64, Ordering::Relaxed);
            count_served(row);
        }
    }

    /// How the thread has spent its time on the request that it has, until now.
    pub fn spent(&self) -> Spent {
        self.row().map_or_else(Spent::default, |row| spent_until(row, exactly_now()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(row) = self.row() {
            row[at::TAKEN].store(0, Ordering::Relaxed);
        }
    }
}

/// By the row's thread: nobody else counts there.
fn count_served(row: &[AtomicU64]) {
    row[at::SERVED].store(row[at::SERVED].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn spent(row: &[AtomicU64]) -> Spent {
    let of = |state: ThreadState| row[at::SPENT + state as usize].load(Ordering::Relaxed);
    Spent { running: of(ThreadState::Running), gvl: of(ThreadState::Gvl), io: of(ThreadState::Io) }
}

/// As [`spent`], with the time that the thread has been in its present state.
fn spent_until(row: &[AtomicU64], now: u64) -> Spent {
    let mut spent = spent(row);
    let since = now.saturating_sub(row[at::SINCE].load(Ordering::Relaxed));
    match ThreadState::of_word(row[at::STATE].load(Ordering::Relaxed)) {
        ThreadState::Idle => {}
        ThreadState::Running => spent.running += since,
        ThreadState::Gvl => spent.gvl += since,
        ThreadState::Io => spent.io += since,
    }
    spent
}

/// As many of the octets as there is room for.
fn write(words: &[AtomicU64], len: &AtomicU64, octets: &[u8]) {
    let octets = &octets[..octets.len().min(words.len() * 8)];
    for (word, eight) in words.iter().zip(octets.chunks(8)) {
        let mut padded = [0; 8];
        padded[..eight.len()].copy_from_slice(eight);
        word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
    }
    len.store(octets.len() as u64, Ordering::Relaxed);
}

fn read(words: &[AtomicU64], len: &AtomicU64) -> Vec<u8> {
    let mut octets: Vec<u8> =
        words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
    octets.truncate(usize::try_from(len.load(Ordering::Relaxed)).unwrap_or(0));
    octets
}

/// A thread of a pool at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ThreadSnapshot {
    /// Its row, from 0; another thread may have had it before.
    pub seat: usize,
    /// What it does; `None` is idle, or in between two requests.
    pub request: Option<RequestSnapshot>,
    /// Requests that it has served before this one.
    pub served: u64,
}

/// The request that a thread has at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestSnapshot {
    /// What the thread does for it.
    pub state: ThreadState,
    /// Its method, the first 16 octets of it.
    pub method: Vec<u8>,
    /// Its path without the query, the first 128 octets of it.
    pub path: Vec<u8>,
    /// Nanoseconds since it began.
    pub age: u64,
    /// How the thread has spent them.
    pub spent: Spent,
}

/// How often a row is read anew that was written meanwhile.
const TRIES: usize = 3;

impl ThreadSnapshot {
    /// `None` when no thread has the row.
    pub(super) fn read(seat: usize, row: &[AtomicU64], now: u64) -> Option<Self> {
        (row[at::TAKEN].load(Ordering::Relaxed) == 1).then(|| {
            let request = (0..TRIES).find_map(|_| RequestSnapshot::read_whole(row, now)).unwrap_or(None);
            Self { seat, request, served: row[at::SERVED].load(Ordering::Relaxed) }
        })
    }
}

impl RequestSnapshot {
    /// The request, if there is one; nothing at all when it was written meanwhile.
    #[allow(clippy::option_option, reason = "whether it was read, and what")]
    fn read_whole(row: &[AtomicU64], now: u64) -> Option<Option<Self>> {
        let version = row[at::VERSION].load(Ordering::Acquire);
        let request = Self::read(row, now);
        fence(Ordering::Acquire);
        (version.is_multiple_of(2) && row[at::VERSION].load(Ordering::Relaxed) == version).then_some(request)
    }

    fn read(row: &[AtomicU64], now: u64) -> Option<Self> {
        let began = row[at::BEGAN].load(Ordering::Relaxed);
        let state = ThreadState::of_word(row[at::STATE].load(Ordering::Relaxed));
        (began > 0 && state != ThreadState::Idle).then(|| Self {
            state,
            method: read(&row[at::METHOD..at::PATH], &row[at::METHOD_LEN]),
            path: read(&row[at::PATH..at::WORDS], &row[at::PATH_LEN]),
            age: now.saturating_sub(began),
            spent: spent_until(row, now),
        })
    }
}
