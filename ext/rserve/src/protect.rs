//! Non-local exits of Ruby (`raise`, `throw`, `Thread#kill`) in callbacks that Ruby calls, where they cannot be
//! returned as a [`magnus::Error`].

use std::os::raw::c_int;

use magnus::rb_sys::AsRawValue;
use magnus::{Error, Ruby};
use rb_sys::VALUE;

/// A non-local exit that was caught on its way; it goes on with [`Exit::resume`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Exit(c_int);

impl Exit {
    /// The exit as magnus' own error, for a method that magnus calls.
    pub(crate) fn into_error(self) -> Error {
        // SAFETY: the closure owns nothing; the exit that was just caught is caught once more.
        match magnus::rb_sys::protect(|| unsafe { self.resume() }) {
            Ok(_) => unreachable!("bug in rserve: an exit that came back"),
            Err(error) => error,
        }
    }

    /// Lets the exit go on.
    ///
    /// # Safety
    ///
    /// Leaves the calling frame by longjmp: nothing in it, nor in the Rust frames up to Ruby's own, needs dropping.
    pub(crate) unsafe fn resume(self) -> ! {
        // SAFETY: the state came from rb_protect, whose error info is still set.
        unsafe { rb_sys::rb_jump_tag(self.0) }
    }
}

/// Handles what Ruby wants of this thread now: signals, `Thread#raise`, `Thread#kill`.
pub(crate) fn check_interrupts() -> Result<(), Exit> {
    unsafe extern "C" fn check(_: VALUE) -> VALUE {
        // SAFETY: the GVL is held.
        unsafe { rb_sys::rb_thread_check_ints() };
        rb_sys::Qnil as VALUE
    }
    let mut state = 0;
    // SAFETY: `check` has the type that rb_protect wants and holds nothing that needs dropping.
    unsafe { rb_sys::rb_protect(Some(check), rb_sys::Qnil as VALUE, &raw mut state) };
    if state == 0 { Ok(()) } else { Err(Exit(state)) }
}

/// Sleeps for a millisecond, without the GVL, for something that another thread of Ruby is about to do.
pub(crate) fn sleep_a_moment() -> Result<(), Exit> {
    unsafe extern "C" fn sleep(_: VALUE) -> VALUE {
        // SAFETY: the GVL is held.
        unsafe { rb_sys::rb_thread_wait_for(rb_sys::timeval { tv_sec: 0, tv_usec: 1000 }) };
        rb_sys::Qnil as VALUE
    }
    let mut state = 0;
    // SAFETY: as in `check_interrupts`.
    unsafe { rb_sys::rb_protect(Some(sleep), rb_sys::Qnil as VALUE, &raw mut state) };
    if state == 0 { Ok(()) } else { Err(Exit(state)) }
}

/// Raises `error`, caught at once: what [`Exit::resume`] then lets go on.
pub(crate) fn raise(ruby: &Ruby, error: &Error) -> Exit {
    let class = ruby.exception_runtime_error().as_raw();
    let exception = crate::error::exception(error).map_or(class, AsRawValue::as_raw);
    unsafe extern "C" fn raise(exception: VALUE) -> VALUE {
        // SAFETY: called under rb_protect with an exception.
        unsafe { rb_sys::rb_exc_raise(exception) };
        #[allow(unreachable_code)]
        {
            rb_sys::Qnil as VALUE
        }
    }
    let mut state = 0;
    // SAFETY: as above.
    unsafe { rb_sys::rb_protect(Some(raise), exception, &raw mut state) };
    Exit(state)
}
