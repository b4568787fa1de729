//! The C library's allocator.

use nix::libc::c_int;

/// At most so many arenas for all threads together (mallopt(3), `M_ARENA_MAX`), from the next one on that would get one of
/// its own. Does nothing where the C library is not glibc.
pub fn limit_arenas(most: c_int) {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, under its own lock.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, most);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = most;
}

/// Gives the system back what was freed (malloc_trim(3)). Does nothing where the C library is not glibc.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and works under the allocator's own locks.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
