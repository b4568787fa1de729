//! Non-local exits of Ruby (`raise`, `throw`, `Thread#kill`): in callbacks that Ruby calls, where they cannot be returned
//! as a [`magnus::Error`], and beside other things that must still be done.

use std::os::raw::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use magnus::Error;
use magnus::error::ErrorType;
use magnus::rb_sys::AsRawValue;
use rb_sys::VALUE;

/// An error without anything that needs dropping.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) enum Exit {
    Raise(VALUE),
    /// `throw` or `Thread#kill`; the VM knows which.
    Jump(c_int),
}

impl Exit {
    pub(crate) fn of(error: &Error) -> Self {
        match error.error_type() {
            ErrorType::Jump(tag) => Self::Jump(*tag as c_int),
            _ => Self::Raise(
                crate::vm::error::exception(error).map_or(rb_sys::Qnil as VALUE, |it| it.as_raw()),
            ),
        }
    }

    /// Lets the exit go on.
    ///
    /// # Safety
    ///
    /// Leaves the calling frame by longjmp: nothing in it, nor in the Rust frames up to Ruby's own, needs dropping.
    pub(crate) unsafe fn resume(self) -> ! {
        match self {
            // SAFETY: an exception.
            Self::Raise(exception) => unsafe { rb_sys::rb_exc_raise(exception) },
            // SAFETY: the VM's error info is as it was when the jump was caught.
            Self::Jump(tag) => unsafe { rb_sys::rb_jump_tag(tag) },
        }
        #[expect(unreachable_code, reason = "the bindings say that rb_exc_raise returns")]
        {
            std::process::abort()
        }
    }
}

/// Runs `then` after what gave `outcome`, which decides: of two exceptions, the first one counts.
///
/// If what is on its way is no exception (`Thread#kill`), `then` is run as Ruby runs an `ensure`: what is rescued in it
/// would otherwise make the VM forget the exit, and crash when that goes on.
pub(crate) fn ensure(
    outcome: Result<(), Error>,
    then: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let Err(failure) = outcome else { return then() };
    let Exit::Jump(tag) = Exit::of(&failure) else {
        return match then() {
            Err(exit) if crate::vm::error::exception(&exit).is_none() => Err(exit),
            _ => Err(failure),
        };
    };
    let mut then = Some(then);
    let data = (&raw mut then) as VALUE;
    // SAFETY: `then` lives in this frame, which `protect` returns to; both functions have the types that `data` and
    // `tag` stand for, and hold nothing that needs dropping.
    magnus::rb_sys::protect(|| unsafe {
        rb_sys::rb_ensure(Some(go_on), tag as VALUE, Some(run_meanwhile_of(&then)), data)
    })
    .map(|_| ())
}

unsafe extern "C" fn go_on(tag: VALUE) -> VALUE {
    // SAFETY: called by `ensure` with the tag of a jump that was caught; nothing here needs dropping.
    unsafe { Exit::Jump(tag as c_int).resume() }
}

fn run_meanwhile_of<F: FnOnce() -> Result<(), Error>>(_: &Option<F>) -> unsafe extern "C" fn(VALUE) -> VALUE {
    run_meanwhile::<F>
}

unsafe extern "C" fn run_meanwhile<F: FnOnce() -> Result<(), Error>>(then: VALUE) -> VALUE {
    // SAFETY: `ensure` passes its own `Option<F>`, which it does not touch meanwhile.
    let then = unsafe { &mut *(then as *mut Option<F>) };
    if let Some(then) = then.take() {
        let _ = catch_unwind(AssertUnwindSafe(then));
    }
    rb_sys::Qnil as VALUE
}

/// Sleeps for a millisecond, without the GVL, for something that another thread of Ruby is about to do.
pub(crate) fn sleep_a_moment() -> Result<(), Error> {
    raw(|| {
        // SAFETY: the GVL is held, and the exit is caught.
        unsafe { rb_sys::rb_thread_wait_for(rb_sys::timeval { tv_sec: 0, tv_usec: 1000 }) };
    })
}

/// Lets other threads of Ruby have a turn. (Up to Ruby 3.2 interrupts are looked at, too.)
pub(crate) fn thread_schedule() -> Result<(), Error> {
    // SAFETY: as above.
    raw(|| unsafe { rb_sys::rb_thread_schedule() })
}

/// Calls Ruby by its C functions, whose exits are caught: `call` owns nothing that needs dropping.
fn raw(call: impl FnOnce()) -> Result<(), Error> {
    magnus::rb_sys::protect(|| {
        call();
        rb_sys::Qnil as VALUE
    })
    .map(|_| ())
}
