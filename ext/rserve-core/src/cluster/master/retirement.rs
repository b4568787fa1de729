//! When a worker is to be replaced that does nothing wrong: its memory, its age, the requests it has served.

use std::time::{Duration, Instant};

/// What the operator asked for; nothing unless told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetirementOptions {
    /// `worker_max_memory`.
    pub memory: Option<MemoryLimit>,
    /// `max_requests`: how many, and the jitter.
    pub requests: Option<(u64, f64)>,
    /// `worker_lifetime`: how long, and the jitter.
    pub lifetime: Option<(Duration, f64)>,
    /// What the jitter of this cluster is drawn from.
    pub seed: u64,
}

/// How much memory a worker may have, in octets of its proportional set (PSS): what it shares counts by its share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryLimit {
    /// Above this, `samples` times in a row, it is replaced.
    pub limit: u64,
    /// How often in a row; at least 1.
    pub samples: u32,
    /// How long between two looks.
    pub every: Duration,
    /// Above this it does not wait for its replacement.
    pub hard: Option<u64>,
}

/// So many times what a worker has when it has booted is the least that a limit may be: one that is nearer would have
/// each worker replaced before it has done anything, and the next one, too.
pub(super) const LEAST_ROOM: f64 = 1.2;

impl MemoryLimit {
    /// Whether a worker that has `octets` as soon as it has booted leaves no room below the limit.
    fn is_refused_by(self, octets: u64) -> bool {
        (self.limit as f64) < octets as f64 * LEAST_ROOM
    }
}

/// What one worker may do before it is replaced.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Limits {
    pub(super) requests: Option<u64>,
    pub(super) lifetime: Option<Duration>,
}

impl RetirementOptions {
    /// The limits of the `serial`th worker of the cluster. Jitter takes up to so much off, so that workers that began
    /// together do not end together, and none has more than was asked for.
    pub(super) fn limits(&self, serial: u64) -> Limits {
        let less = |draw: u64, jitter: f64| 1.0 - jitter.clamp(0.0, 1.0) * fraction(self.seed, serial, draw);
        Limits {
            requests: self
                .requests
                .map(|(count, jitter)| ((count as f64 * less(0, jitter)).ceil() as u64).max(1)),
            lifetime: self.lifetime.map(|(length, jitter)| length.mul_f64(less(1, jitter))),
        }
    }
}

/// From 0 to 1, by splitmix64: the same for the same numbers.
fn fraction(seed: u64, serial: u64, draw: u64) -> f64 {
    let mut mixed = seed.wrapping_add((2 * serial + draw + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What is known of one worker's memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MemoryWatch {
    /// When to look next; `None` while it has not booted.
    pub(super) next_look: Option<Instant>,
    /// The first look was taken.
    looked: bool,
    refused: bool,
    in_a_row: u32,
}

/// What a look at a worker's memory says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Finding {
    /// Below the limit, or not often enough above.
    Fine,
    /// It has just booted, and the limit leaves it no room: the limit does not hold for this worker.
    Refused,
    /// Time to be replaced.
    TooMuch,
    /// More than it may have until it is replaced.
    FarTooMuch,
}

impl MemoryWatch {
    /// The worker has `octets`.
    pub(super) fn finds(&mut self, octets: u64, limit: MemoryLimit) -> Finding {
        if !std::mem::replace(&mut self.looked, true) && limit.is_refused_by(octets) {
            self.refused = true;
            return Finding::Refused;
        }
        if self.refused {
            return Finding::Fine;
        }
        self.in_a_row = if octets > limit.limit { self.in_a_row + 1 } else { 0 };
        if limit.hard.is_some_and(|hard| octets > hard) {
            Finding::FarTooMuch
        } else if self.in_a_row >= limit.samples {
            Finding::TooMuch
        } else {
            Finding::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: MemoryLimit =
        MemoryLimit { limit: 120, samples: 3, every: Duration::from_secs(30), hard: Some(200) };

    #[test]
    fn worker_is_replaced_after_so_many_looks_in_a_row_or_one_at_far_too_much() {
        use Finding::{FarTooMuch, Fine, Refused, TooMuch};
        for (looks, want) in [
            (
                &[100, 121, 121, 120, 121, 121, 121, 121][..],
                &[Fine, Fine, Fine, Fine, Fine, Fine, TooMuch, TooMuch][..],
            ),
            (&[100, 200, 201], &[Fine, Fine, FarTooMuch]),
            (&[101, 300, 300, 300], &[Refused, Fine, Fine, Fine]),
            (&[300, 300, 300, 300], &[Refused, Fine, Fine, Fine]),
        ] {
            let mut watch = MemoryWatch::default();
            let findings: Vec<Finding> = looks.iter().map(|octets| watch.finds(*octets, LIMIT)).collect();
            assert_eq!(findings, want, "{looks:?}");
        }
    }

    #[test]
    fn jitter_takes_off_up_to_so_much_evenly_and_is_repeatable() {
        let hours = |count: u64| Duration::from_secs(3600 * count);
        let options = |jitter| RetirementOptions {
            requests: Some((10_000, jitter)),
            lifetime: Some((hours(12), jitter)),
            seed: 7,
            ..RetirementOptions::default()
        };
        let limits: Vec<Limits> = (0..1000).map(|serial| options(0.1).limits(serial)).collect();
        let mut requests: Vec<u64> = limits.iter().filter_map(|limits| limits.requests).collect();
        requests.sort_unstable();
        assert!(requests[0] >= 9_000 && requests[999] <= 10_000, "{requests:?}");
        assert!((9_400..9_600).contains(&requests[500]), "half of them have less than the middle");
        for limits in &limits {
            let lifetime = limits.lifetime.unwrap();
            assert!(lifetime > hours(12).mul_f64(0.9) && lifetime <= hours(12), "{lifetime:?}");
        }
        let together = limits.iter().filter(|one| **one == options(0.1).limits(0)).count();
        assert_eq!(together, 1);
        let other = RetirementOptions { seed: 8, ..options(0.1) };
        assert_ne!(other.limits(0), options(0.1).limits(0), "another cluster draws others");
        let none = Limits { requests: Some(10_000), lifetime: Some(hours(12)) };
        assert_eq!(options(0.0).limits(3), none);
        assert_eq!(RetirementOptions::default().limits(0), Limits::default());
        assert_eq!(
            RetirementOptions { requests: Some((1, 1.0)), ..Default::default() }.limits(0).requests,
            Some(1)
        );
    }
}
