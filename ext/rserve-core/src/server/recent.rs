//! A bounded table of what was used lately.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::tuning::ADMITTED;

/// Values by octets. It keeps the `half` that were used last, and at most as many again that were used before them: what
/// is in use stays, whatever else comes by.
pub struct Recent<V> {
    half: usize,
    offered: u32,
    young: Table<V>,
    old: Table<V>,
}

type Table<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<Fnv>>;

impl<V: Copy> Recent<V> {
    /// An empty table.
    pub fn new(half: usize) -> Self {
        Self { half, offered: 0, young: Table::default(), old: Table::default() }
    }

    /// The value of `key`, which counts as used.
    pub fn get(&mut self, key: &[u8]) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value);
        Some(value)
    }

    /// Remembers `value` for `key`, which is not known, unless it has just remembered others.
    pub fn offer(&mut self, key: &[u8], value: V) {
        // A generator of numbers that look random: a mere count could be in step with requests that are all alike.
        self.offered = self.offered.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if self.offered.leading_zeros() >= ADMITTED.ilog2() {
            self.put(key.into(), value);
        }
    }

    fn put(&mut self, key: Box<[u8]>, value: V) {
        if self.young.len() >= self.half {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(key, value);
    }

    /// All that are remembered.
    pub fn values(&self) -> impl Iterator<Item = V> {
        self.young.values().chain(self.old.values()).copied()
    }
}

/// FNV-1a: keys are short, and the table is bounded.
#[derive(Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    /// Uses `number`; whether it was known.
    fn use_one(recent: &mut Recent<u32>, number: u32) -> bool {
        let known = recent.get(&key(number));
        assert!(known.is_none_or(|known| known == number));
        if known.is_none() {
            recent.offer(&key(number), number);
        }
        assert!(recent.values().count() <= 16);
        known.is_some()
    }

    #[test]
    fn what_is_in_use_is_soon_known_and_stays_whatever_else_comes_by() {
        let mut recent = Recent::new(8);
        for invented in 0..1000 {
            use_one(&mut recent, 1_000_000 + invented);
        }
        let rounds = (0..1000).map(|round| {
            for invented in 0..5 {
                use_one(&mut recent, 1000 + 10 * round + invented);
            }
            (0..6).filter(|used| use_one(&mut recent, *used)).count()
        });
        let known: Vec<_> = rounds.collect();
        assert!(known[500..].iter().all(|known| *known == 6), "{known:?}");
    }

    #[test]
    fn what_came_first_makes_room_for_what_comes_later() {
        let mut recent = Recent::new(8);
        for number in (0..100).flat_map(|number| [number; 200]) {
            use_one(&mut recent, number);
        }
        assert_eq!(recent.get(&key(0)), None);
        for number in 95..100 {
            assert_eq!(recent.get(&key(number)), Some(number), "{number}");
        }
    }
}
