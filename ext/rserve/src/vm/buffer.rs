//! Buffers for heads and small responses, reused by the thread that made them.

use std::cell::RefCell;

/// A buffer that grew beyond this is not kept.
const KEPT_CAPACITY: usize = 64 * 1024;

/// How many a thread keeps: the application's lines, a name, and the response.
const KEPT: usize = 6;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(crate) fn take() -> Vec<u8> {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(1024))
}

/// Gives a buffer back.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if (1..=KEPT_CAPACITY).contains(&buffer.capacity()) {
        buffer.clear();
        BUFFERS.with_borrow_mut(|buffers| {
            if buffers.len() < KEPT {
                buffers.push(buffer);
            }
        });
    }
}
