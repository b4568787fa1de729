//! Whether the thread that polls looks again for a moment before it sleeps.

use std::time::Duration;

use crate::tuning::SPIN;

/// So many short gaps in a row, and the next one is expected to be short, too. One that was not makes everybody sleep at once
/// again: where gaps vary, at most every ninth look is in vain.
const TRUSTED: u8 = 8;

/// How long threads that had nothing to do waited for the next request lately.
#[derive(Default)]
pub(crate) struct Gaps {
    short: u8,
}

impl Gaps {
    /// A thread waited for so long, awake or asleep.
    pub(crate) fn note(&mut self, gap: Duration) {
        self.short = if gap < SPIN { self.short.saturating_add(1) } else { 0 };
    }

    /// Whether the next one is expected to be over within [`SPIN`].
    pub(crate) fn are_short(&self) -> bool {
        self.short >= TRUSTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_gap_ends_it_and_several_short_ones_begin_it() {
        let mut gaps = Gaps::default();
        for _ in 0..2 {
            for _ in 0..TRUSTED {
                assert!(!gaps.are_short());
                gaps.note(SPIN / 2);
            }
            for _ in 0..1000 {
                assert!(gaps.are_short());
                gaps.note(SPIN / 2);
            }
            gaps.note(SPIN);
        }
    }
}
