//! Memory that a process shares with the children it forks.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU32;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Words that every process forked after [`SharedWords::zeroed`] sees, all at first zero.
///
/// INVARIANT: `start` is the beginning of a mapping of `length` octets, owned by this value, page-aligned, readable
/// and writable, that is never unmapped or remapped before the drop.
#[derive(Debug)]
pub(crate) struct SharedWords {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

// SAFETY: the mapping belongs to no thread, and its words are only reached as atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// At least `count` words of zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn zeroed(count: NonZeroUsize) -> io::Result<Self> {
        let length = count.saturating_mul(NonZeroUsize::MIN.saturating_add(size_of::<AtomicU32>() - 1));
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) }?;
        Ok(Self { start, length })
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU32];

    fn deref(&self) -> &[AtomicU32] {
        let count = self.length.get() / size_of::<AtomicU32>();
        // SAFETY: by the invariant, `count` words are mapped and aligned for as long as `self` is borrowed; zero is a
        // valid AtomicU32, and no process has anything but atomics for them.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<AtomicU32>(), count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: by the invariant the mapping is ours, and no borrow of it outlives `self`. Other processes keep theirs.
        let _ = unsafe { munmap(self.start, self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn child_and_parent_see_the_same_words() {
        let words = SharedWords::zeroed(NonZeroUsize::MIN).unwrap();
        assert_eq!(words[0].load(Ordering::SeqCst), 0);
        // SAFETY: the child touches nothing but its mapping, and leaves without running anything of the parent's.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                words[0].store(7, Ordering::SeqCst);
                // SAFETY: ends the process at once; no destructor and no exit handler runs.
                unsafe { nix::libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
                assert_eq!(words[0].load(Ordering::SeqCst), 7);
            }
        }
    }
}
