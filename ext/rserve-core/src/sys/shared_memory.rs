//! Memory that a process shares with the children it forks, and with programs that these execute.

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc::c_void;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

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

/// Words of a file that is only in memory: whoever has its descriptor can map them, be it a program that was executed.
/// What nobody has touched takes no memory.
///
/// INVARIANT: `start` is the beginning of a mapping of `count` words of `file`, owned by this value, page-aligned,
/// readable and writable, that is never unmapped or remapped before the drop; `file` can be made no shorter.
#[derive(Debug)]
pub(crate) struct SharedFile {
    start: NonNull<c_void>,
    count: NonZeroUsize,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to no thread, and its words are only reached as atomics.
unsafe impl Send for SharedFile {}
// SAFETY: as above.
unsafe impl Sync for SharedFile {}

impl SharedFile {
    /// `count` words of zero. The descriptor is closed by `exec`, unless somebody says otherwise.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or no descriptor is left.
    pub(crate) fn zeroed(name: &CStr, count: NonZeroUsize) -> io::Result<Self> {
        let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&file, i64::try_from(length(count).get()).map_err(io::Error::other)?)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Self::map(file, count)
    }

    /// The words of a file that [`SharedFile::zeroed`] made, in whatever process.
    ///
    /// # Errors
    ///
    /// It is another file, or has another length.
    pub(crate) fn open(file: OwnedFd, count: NonZeroUsize) -> io::Result<Self> {
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate)?;
        let len = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        if !seals.contains(SealFlag::F_SEAL_SHRINK) || len != length(count).get() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Self::map(file, count)
    }

    fn map(file: OwnedFd, count: NonZeroUsize) -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a mapping at an address of the kernel's choice replaces nothing; the file is sealed, so that no part of
        // it can go away.
        let start = unsafe { mmap(None, length(count), protection, MapFlags::MAP_SHARED, &file, 0) }?;
        Ok(Self { start, count, file })
    }
}

/// Octets of so many words.
fn length(count: NonZeroUsize) -> NonZeroUsize {
    count.saturating_mul(NonZeroUsize::MIN.saturating_add(size_of::<AtomicU64>() - 1))
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Deref for SharedFile {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: by the invariant, `count` words are mapped and aligned for as long as `self` is borrowed; any octets are
        // a valid AtomicU64, and no process has anything but atomics for them.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<AtomicU64>(), self.count.get()) }
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        // SAFETY: by the invariant the mapping is ours, and no borrow of it outlives `self`. Other processes keep theirs.
        let _ = unsafe { munmap(self.start, length(self.count).get()) };
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

    #[test]
    fn a_file_of_words_is_the_same_by_any_descriptor() {
        let count = NonZeroUsize::MIN.saturating_add(999);
        let words = SharedFile::zeroed(c"words", count).unwrap();
        words[999].store(7, Ordering::SeqCst);
        let copy = || words.as_fd().try_clone_to_owned().unwrap();
        let again = SharedFile::open(copy(), count).unwrap();
        assert_eq!((again.len(), again[999].load(Ordering::SeqCst)), (1000, 7));
        assert!(SharedFile::open(copy(), NonZeroUsize::MIN).is_err(), "another length");
        assert!(ftruncate(&words, 0).is_err(), "nobody can take it away");
        let other = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(SharedFile::open(other, count).is_err());
    }
}
