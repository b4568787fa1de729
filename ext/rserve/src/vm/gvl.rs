//! Waiting without the GVL, in a way that signals, `Thread#raise` and `Thread#kill` can end.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use rserve_core::tuning::WIPED_STACK;

/// Runs `work` without the GVL and gives what it gave; `None` when it was not run, because Ruby wants this thread at
/// once. The caller then looks after the interrupt (`Ruby::thread_check_ints`): nothing here raises, so everything
/// that needs dropping is dropped.
///
/// `work` must not touch Ruby. `unblock` may be called at any time from any thread while `work` runs, and makes it
/// return soon.
pub(crate) fn without_gvl<W, R, U>(work: W, unblock: &U) -> Option<R>
where
    W: FnOnce() -> R,
    U: Fn() + Sync,
{
    let mut call = Call { work: Some(work), outcome: None };
    // SAFETY: both pointers outlive the call, and `run` and `unblocked` cast them back to the types that they came
    // from. With INTR_FAIL rb_nogvl never raises: it returns without running `run`, or after it.
    unsafe {
        rb_sys::rb_nogvl(
            Some(run::<W, R>),
            (&raw mut call).cast(),
            Some(unblocked::<U>),
            std::ptr::from_ref(unblock).cast_mut().cast(),
            rb_sys::RB_NOGVL_INTR_FAIL as i32,
        );
    }
    match call.outcome? {
        Ok(value) => Some(value),
        Err(panic) => resume_unwind(panic),
    }
}

/// Overwrites what calls that have ended left on the stack of this thread. It is about to sleep in other frames that leave
/// gaps, and Ruby's collector takes what stands in the gaps for references: to the last request and all that hangs on it.
#[inline(never)]
pub(crate) fn wipe_stack() {
    let mut left_behind = [0_u8; WIPED_STACK];
    std::hint::black_box(&mut left_behind);
}

struct Call<W, R> {
    work: Option<W>,
    outcome: Option<thread::Result<R>>,
}

unsafe extern "C" fn run<W: FnOnce() -> R, R>(call: *mut c_void) -> *mut c_void {
    // SAFETY: `without_gvl` passes its own `Call<W, R>`, which it does not touch meanwhile.
    let call = unsafe { &mut *call.cast::<Call<W, R>>() };
    if let Some(work) = call.work.take() {
        call.outcome = Some(catch_unwind(AssertUnwindSafe(work)));
    }
    std::ptr::null_mut()
}

unsafe extern "C" fn unblocked<U: Fn()>(unblock: *mut c_void) {
    // SAFETY: `without_gvl` passes a reference that outlives the call.
    let unblock = unsafe { &*unblock.cast::<U>() };
    let _ = catch_unwind(AssertUnwindSafe(unblock));
}
