//! The main thread's stack. Ruby makes sure at its start that it can use all of it; where the compiler has every page of
//! a large frame touched (`-fstack-clash-protection`, Debian's and others' default), all 8 MiB are in memory from then on.

use std::ops::Range;
use std::ptr::NonNull;

use nix::libc::c_void;
use nix::sys::mman::{MmapAdvise, madvise};
use nix::unistd::{SysconfVar, sysconf};

/// Kept below the caller's frame: what is called next should not have to fetch its pages again.
const KEPT: usize = 256 * 1024;

/// Gives back the memory of the main thread's stack that nobody uses any more: its caller is the main thread. Does nothing
/// on another thread or fiber.
pub fn release_stack() {
    let here = 0_u8;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok());
    let Some(unused) = unused(&maps, (&raw const here).addr(), page.unwrap_or(4096)) else { return };
    if let Some(start) = NonNull::new(unused.start as *mut c_void) {
        // SAFETY: the range lies in this thread's stack, far below its last frame and any red zone, where nothing lives
        // and whatever comes is written before it is read.
        let _ = unsafe { madvise(start, unused.len(), MmapAdvise::MADV_DONTNEED) };
    }
}

/// The pages of the stack in `maps` (proc_pid_maps(5)) that are well below the address `here`.
fn unused(maps: &str, here: usize, page: usize) -> Option<Range<usize>> {
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let last = here.checked_sub(KEPT)? / page * page;
    ((start..end).contains(&here) && last > start).then_some(start..last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
                        7ffd00000000-7ffd00800000 rw-p 00000000 00:00 0                          [stack]\n";

    #[test]
    fn only_pages_well_below_the_caller_are_unused() {
        let start = 0x7ffd_0000_0000;
        let here = start + 0x70_0123;
        assert_eq!(unused(MAPS, here, 4096), Some(start..start + 0x70_0000 - KEPT));
        assert_eq!(unused(MAPS, start + KEPT, 4096), None, "nothing is left");
        assert_eq!(unused(MAPS, 0x7f00_0000_0100, 4096), None, "another thread's");
        assert_eq!(unused("", here, 4096), None);
    }
}
