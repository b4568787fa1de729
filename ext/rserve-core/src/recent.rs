//! A bounded table of what was used lately.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by octets. It keeps the `half` that were used last, and at most as many again that were used before them: what
/// is in use stays, whatever else comes by.
pub struct Recent<V> {
    half: usize,
    young: Table<V>,
    old: Table<V>,
}

type Table<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<Fnv>>;

impl<V: Copy> Recent<V> {
    /// An empty table.
    pub fn new(half: usize) -> Self {
        Self { half, young: Table::default(), old: Table::default() }
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

    /// Remembers `value` for `key`.
    pub fn insert(&mut self, key: &[u8], value: V) {
        self.put(key.into(), value);
    }

    fn put(&mut self, key: Box<[u8]>, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
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

    #[test]
    fn what_is_in_use_stays_whatever_else_comes_by() {
        let mut recent = Recent::new(8);
        for used in 0..4_u32 {
            recent.insert(&used.to_be_bytes(), used);
        }
        for invented in 100..10_000_u32 {
            recent.insert(&invented.to_be_bytes(), invented);
            let used = invented % 4;
            assert_eq!(recent.get(&used.to_be_bytes()), Some(used));
            assert!(recent.values().count() <= 16);
        }
    }

    #[test]
    fn what_came_first_makes_room_for_what_comes_later() {
        let mut recent = Recent::new(8);
        for key in 0..100_u32 {
            recent.insert(&key.to_be_bytes(), key);
        }
        assert_eq!(recent.get(&0_u32.to_be_bytes()), None);
        for key in 92..100_u32 {
            assert_eq!(recent.get(&key.to_be_bytes()), Some(key), "{key}");
        }
        assert_eq!(recent.values().count(), 8 + 4, "the ones that were looked at moved");
    }
}
