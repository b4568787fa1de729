//! What is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Default)]
pub(crate) struct Figures {
    /// Requests that threads have begun so far.
    requests: AtomicU64,
    /// How many of them were large.
    large: AtomicU64,
    /// Requests that were answered with files.
    files: AtomicU64,
    /// The most connections that were open at once since the figure was last asked for.
    connections_max: AtomicUsize,
    /// Clients cut off since it was last told.
    readers_cut: AtomicUsize,
}

impl Figures {
    /// A thread begins a request.
    pub(crate) fn count_request(&self, large: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if large {
            self.large.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn large(&self) -> u64 {
        self.large.load(Ordering::Relaxed)
    }

    /// A request was answered with a file.
    pub(crate) fn count_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// So many connections are open now.
    pub(crate) fn note_connections(&self, open: usize) {
        self.connections_max.fetch_max(open, Ordering::Relaxed);
    }

    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// From now on the most connections are counted anew.
    pub(crate) fn forget_connections_max(&self) {
        self.connections_max.store(0, Ordering::Relaxed);
    }

    /// A client that read too slowly was cut off.
    pub(crate) fn count_reader_cut(&self) {
        self.readers_cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn readers_cut(&self) -> usize {
        self.readers_cut.load(Ordering::Relaxed)
    }

    /// Those of which nobody was told yet.
    pub(crate) fn take_readers_cut(&self) -> usize {
        self.readers_cut.swap(0, Ordering::Relaxed)
    }
}
