//! Ruby's garbage collector.

/// How many collections there have been.
pub(crate) fn collections() -> u64 {
    // SAFETY: reads a counter; every caller holds the GVL, as whoever has a `Ruby` does.
    unsafe { rb_sys::rb_gc_count() }
}
