//! When a worker that needs a full collection of its garbage makes it, and whether it leaves its clients to the others for
//! that. Decisions only.

use std::time::Duration;

/// It is put off for so long at most: it may be needed because memory is short.
const LONGEST: Duration = Duration::from_secs(2);

/// … or until the heap has so many hundredths of what it had after the last one.
const MOST_GROWTH: u32 = 150;

/// With so many it is needed, whether Ruby asks for it or not: one that may make none by itself (3.4) takes new memory
/// instead, without a bound.
const WORTH: u32 = 125;

/// Of so many workers one leaves its clients to the others at a time.
const SHARE: usize = 4;

/// What a worker sees that needs a full collection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Need {
    /// No request is in its hands.
    pub idle: bool,
    /// Others that have left their clients for a collection.
    pub collecting: usize,
    /// Workers that take connections, this one included.
    pub workers: usize,
    /// How long it has needed it.
    pub waited: Duration,
    /// Its heap, in hundredths of what that was after the last one.
    pub growth: u32,
}

/// What it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Serves on.
    Serve,
    /// Finishes what it has, and leaves what comes to the others.
    Leave,
    /// Collects.
    Collect,
}

impl Need {
    /// Whether a worker needs one, which Ruby has `asked` for or not; `growth` as above.
    pub fn is_there(asked: bool, growth: u32) -> bool {
        asked || growth >= WORTH
    }

    /// Decides.
    pub fn step(self) -> Step {
        let alone = self.workers <= 1;
        let may_leave = self.collecting < (self.workers / SHARE).max(1);
        let overdue = self.waited >= LONGEST || self.growth >= MOST_GROWTH;
        if overdue || (self.idle && (alone || may_leave)) {
            Step::Collect
        } else if may_leave && !alone {
            Step::Leave
        } else {
            Step::Serve
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_collected_when_nobody_waits_and_by_few_workers_at_a_time() {
        let ms = Duration::from_millis;
        let one = Need { idle: true, collecting: 0, workers: 1, waited: ms(1), growth: 100 };
        let of_two = Need { workers: 2, ..one };
        for (need, step, why) in [
            (one, Step::Collect, "nobody waits"),
            (Need { idle: false, ..one }, Step::Serve, "somebody does, and there is nobody else"),
            (Need { idle: false, workers: 0, ..one }, Step::Serve, "a server that takes no connections"),
            (Need { idle: false, waited: LONGEST, ..one }, Step::Collect, "put off for long"),
            (Need { idle: false, growth: MOST_GROWTH, ..one }, Step::Collect, "it grows"),
            (of_two, Step::Collect, "nobody waits"),
            (Need { idle: false, ..of_two }, Step::Leave, "the other one takes over"),
            (Need { collecting: 1, ..of_two }, Step::Serve, "the other one collects"),
            (Need { idle: false, collecting: 1, ..of_two }, Step::Serve, "the other one collects"),
            (Need { collecting: 1, waited: LONGEST, ..of_two }, Step::Collect, "put off for long"),
            (Need { idle: false, collecting: 1, workers: 7, ..one }, Step::Serve, "one of seven"),
            (Need { idle: false, collecting: 1, workers: 8, ..one }, Step::Leave, "two of eight"),
            (Need { idle: false, collecting: 2, workers: 8, ..one }, Step::Serve, "two of eight"),
        ] {
            assert_eq!(need.step(), step, "{why}: {need:?}");
        }
        assert!(!Need::is_there(false, WORTH - 1));
        assert!(Need::is_there(true, 0) && Need::is_there(false, WORTH));
    }
}
