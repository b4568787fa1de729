//! How much memory the workers take, as Linux tells it of any process of the same user.

use std::fs;
use std::time::{Duration, Instant};

use crate::telemetry::Snapshot;

/// The kernel walks through all of a worker's memory to tell, and holds its map meanwhile.
const READ_EVERY: Duration = Duration::from_secs(1);

/// What a process takes, in octets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemoryUse {
    /// All that is resident.
    pub rss: u64,
    /// As `rss`, but of what it shares with others only its share.
    pub pss: u64,
}

impl MemoryUse {
    /// What the process `pid` takes; `None` when it is gone, or somebody else's.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
    }

    fn parse(rollup: &str) -> Option<Self> {
        let octets = |name: &str| {
            let mut lines = rollup.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes: u64 = lines.next()?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some(Self { rss: octets("Rss")?, pss: octets("Pss")? })
    }
}

/// The workers' memory as it was lately.
#[derive(Debug, Default)]
pub struct Memory {
    read_at: Option<Instant>,
    workers: Vec<(u32, MemoryUse)>,
}

impl Memory {
    /// The memory of each worker whose process can be looked at, by index, at most a second old.
    pub fn of_workers(&mut self, snapshot: &Snapshot) -> &[(u32, MemoryUse)] {
        if self.read_at.is_none_or(|at| at.elapsed() >= READ_EVERY) {
            self.read_at = Some(Instant::now());
            let memory = |pid: Option<u32>| pid.and_then(MemoryUse::of);
            self.workers =
                snapshot.by_index().filter_map(|worker| Some((worker.index, memory(worker.pid)?))).collect();
        }
        &self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_memory_a_process_takes() {
        let rollup = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:                2184 kB\nPss:                 \
                      612 kB\nPss_Dirty:            96 kB\n";
        assert_eq!(MemoryUse::parse(rollup), Some(MemoryUse { rss: 2184 * 1024, pss: 612 * 1024 }));
        assert_eq!(MemoryUse::parse("Rss: 1 kB\n"), None);
        let own = MemoryUse::of(std::process::id()).unwrap();
        assert!(own.rss >= own.pss && own.pss > 0, "{own:?}");
        assert_eq!(MemoryUse::of(u32::MAX), None);
    }
}
