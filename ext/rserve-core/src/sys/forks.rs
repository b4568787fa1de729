//! Whether this process was forked, or has forked, without asking the kernel each time.
//!
//! An application may fork in the middle of a request. Its child inherits every socket and every lock of the server, and
//! none of its threads: one octet that it writes, or one lock that was held, would spoil what its parent is doing.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::libc;

/// Counts the forks between the process that first watched and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// This process has forked.
static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// Starts to keep count, here and in every child; further calls do nothing.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: both handlers only touch atomics, which is safe between fork and exec.
        unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
    });
}

/// Before: what is done without knowing of a child must have been done before it got its copies.
extern "C" fn before() {
    HAS_FORKED.store(true, Ordering::Relaxed);
}

extern "C" fn in_child() {
    HAS_FORKED.store(false, Ordering::Relaxed);
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Differs between a process and its child.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Another process may hold copies of the descriptors of this one.
pub(crate) fn has_forked() -> bool {
    HAS_FORKED.load(Ordering::Relaxed)
}
