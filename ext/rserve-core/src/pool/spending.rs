//! How a thread spends its time on a request, for the access log, where operators see nothing else of it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::telemetry::{Spent, ThreadState, exactly_now};

/// See the module. Changed from whichever thread Ruby tells from, one at a time.
#[derive(Debug)]
pub(super) struct Spending {
    state: AtomicU8,
    since: AtomicU64,
    spent: [AtomicU64; ThreadState::COUNT],
}

impl Default for Spending {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(ThreadState::Idle as u8),
            since: AtomicU64::new(0),
            spent: [const { AtomicU64::new(0) }; ThreadState::COUNT],
        }
    }
}

impl Spending {
    /// The thread begins a request.
    pub(super) fn begin(&self) {
        self.since.store(exactly_now(), Ordering::Relaxed);
        self.state.store(ThreadState::Running as u8, Ordering::Relaxed);
        self.spent.iter().for_each(|spent| spent.store(0, Ordering::Relaxed));
    }

    /// It goes on to another state.
    pub(super) fn change(&self, state: ThreadState) {
        let now = exactly_now();
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        let since = self.since.swap(now, Ordering::Relaxed);
        if let Some(spent) = self.spent.get(usize::from(before)) {
            spent.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// Since it began its request, by the thread itself: it runs.
    pub(super) fn spent(&self) -> Spent {
        self.change(ThreadState::Running);
        let of = |state: ThreadState| self.spent[state as usize].load(Ordering::Relaxed);
        Spent { running: of(ThreadState::Running), gvl: of(ThreadState::Gvl), io: of(ThreadState::Io) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_counts_once_and_each_request_begins_anew() {
        let spending = Spending::default();
        let began = exactly_now();
        spending.begin();
        for state in [ThreadState::Io, ThreadState::Gvl, ThreadState::Running, ThreadState::Io] {
            std::thread::sleep(std::time::Duration::from_millis(2));
            spending.change(state);
        }
        let spent = spending.spent();
        let all = spent.running + spent.gvl + spent.io;
        assert!(all <= exactly_now() - began, "{spent:?}");
        assert!([spent.running, spent.gvl, spent.io].iter().all(|part| *part >= 2_000_000), "{spent:?}");
        spending.begin();
        assert_eq!((spending.spent().gvl, spending.spent().io), (0, 0));
    }
}
