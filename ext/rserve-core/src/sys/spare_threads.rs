//! Whether another thread can be made. To be asked before Ruby is: from 3.3 to 3.4 at least, a `Thread.new` that fails
//! leaves a thread in the queue for the GVL that does not exist, and the next time it comes to the front nothing runs any
//! more.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Octets of stack; the threads do nothing.
const STACK: usize = 64 * 1024;

/// Whether `count` threads could be made just now. Somebody else may make them first: ask for more than one.
pub fn could_make(count: usize) -> bool {
    // A new thread inherits the mask: no signal is ever to be delivered to it.
    let Ok(before) = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK) else { return false };
    let stay = Mutex::new(());
    let made = thread::scope(|scope| {
        let staying = stay.lock();
        let wait = || drop(stay.lock().unwrap_or_else(PoisonError::into_inner));
        let make = || Builder::new().stack_size(STACK).spawn_scoped(scope, wait).is_ok();
        let made = (0..count).all(|_| make());
        drop(staying);
        made
    });
    before.thread_set_mask().is_ok() && made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usually_there_are_some() {
        assert!(could_make(0));
        assert!(could_make(2));
    }
}
