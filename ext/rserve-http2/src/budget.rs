//! How often a client may do what costs the server something and brings nobody anything.

/// Tokens that are spent, earned, and come back with time.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    /// Since when no token has come back.
    since: u64,
}

impl Budget {
    pub(crate) fn new(most: u32, per_second: u32) -> Self {
        Self { left: most, most, per_second, since: 0 }
    }

    /// Takes a token at `now`, in milliseconds of any clock; `false` when there is none.
    #[must_use]
    pub(crate) fn spend(&mut self, now: u64) -> bool {
        self.wait(now);
        let spent = self.left > 0;
        self.left -= u32::from(spent);
        spent
    }

    /// Gives tokens back; there are never more than at the beginning.
    pub(crate) fn earn(&mut self, tokens: u32) {
        self.left = self.left.saturating_add(tokens).min(self.most);
    }

    fn wait(&mut self, now: u64) {
        let earned = now.saturating_sub(self.since).saturating_mul(u64::from(self.per_second)) / 1000;
        if earned > 0 {
            self.since = now;
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_with_time_and_by_merit() {
        let mut budget = Budget::new(2, 10);
        let spent: Vec<_> = [0, 0, 0, 99, 100, 150, 200].map(|now| budget.spend(now)).into();
        assert_eq!(spent, [true, true, false, false, true, false, true]);
        budget.earn(100);
        let spent: Vec<_> = [200, 200, 200].map(|now| budget.spend(now)).into();
        assert_eq!(spent, [true, true, false]);
        assert!(budget.spend(1_000_000));
    }
}
