//! Durations by buckets, as Prometheus counts them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets with an upper bound; one more has none.
pub(super) const BOUNDS: usize = 14;

/// One for each bucket, and the sum.
pub(super) const WORDS: usize = BOUNDS + 2;

const SUM: usize = BOUNDS + 1;

/// Upper bounds in microseconds: of whole requests, as OpenTelemetry's conventions for HTTP advise …
pub const OF_REQUESTS: [u64; BOUNDS] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// … and of parts of them, which are shorter.
pub const OF_PARTS: [u64; BOUNDS] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Counts a duration.
pub(super) fn observe(words: &[AtomicU64], bounds: &[u64; BOUNDS], nanoseconds: u64) {
    let bucket = bounds.iter().position(|bound| nanoseconds <= bound * 1000).unwrap_or(BOUNDS);
    words[bucket].fetch_add(1, Ordering::Relaxed);
    words[SUM].fetch_add(nanoseconds, Ordering::Relaxed);
}

/// Durations that were counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Histogram {
    /// How many were in each bucket alone; the last is of those above all bounds.
    pub buckets: [u64; BOUNDS + 1],
    /// All of them together.
    pub nanoseconds: u64,
}

impl Histogram {
    pub(super) fn read(words: &[AtomicU64]) -> Self {
        let mut histogram = Self::default();
        for (bucket, word) in histogram.buckets.iter_mut().zip(words) {
            *bucket = word.load(Ordering::Relaxed);
        }
        histogram.nanoseconds = words[SUM].load(Ordering::Relaxed);
        histogram
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds those of another one, which has the same bounds.
    pub fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.nanoseconds += other.nanoseconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_long_enough() {
        let words: [AtomicU64; WORDS] = std::array::from_fn(|_| AtomicU64::new(0));
        for (nanoseconds, bucket) in [
            (0, 0),
            (5_000_000, 0),
            (5_000_001, 1),
            (10_000_000_000, 13),
            (10_000_000_001, 14),
            (1 << 40, 14),
        ] {
            let before = Histogram::read(&words);
            observe(&words, &OF_REQUESTS, nanoseconds);
            let after = Histogram::read(&words);
            let grown: Vec<_> = (0..=BOUNDS).filter(|at| after.buckets[*at] > before.buckets[*at]).collect();
            assert_eq!(grown, [bucket], "{nanoseconds}");
            assert_eq!(after.nanoseconds - before.nanoseconds, nanoseconds);
        }
        let mut twice = Histogram::read(&words);
        twice.add(&Histogram::read(&words));
        assert_eq!(twice.count(), 12);
        assert!(OF_REQUESTS.is_sorted() && OF_PARTS.is_sorted());
    }
}
