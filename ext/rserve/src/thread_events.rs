//! Ruby ≥ 3.2 tells when a thread lets go of the GVL. When that happens in the middle of a request, somebody else must
//! poll, and need not wait for the monitor's next look. Older Rubies do without.

use std::cell::Cell;
use std::sync::Arc;

use rserve_core::server::Server;

/// Whether this Ruby tells.
pub(crate) const ARE_TOLD: bool = cfg!(ruby_gte_3_2);

thread_local! {
    /// The server for which this thread is serving a request; null outside of one.
    static SERVING: Cell<*const Server> = const { Cell::new(std::ptr::null()) };
}

/// Marks the calling thread as serving for as long as it lives.
pub(crate) struct Serving;

impl Serving {
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        SERVING.set(Arc::as_ptr(server));
        Self
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        SERVING.set(std::ptr::null());
    }
}

/// Tells `server` whenever one of its threads lets go of the GVL inside a request, until it is dropped.
pub(crate) struct SuspendHook {
    #[cfg(ruby_gte_3_2)]
    hook: *mut rb_sys::rb_internal_thread_event_hook_t,
    #[cfg(ruby_gte_3_2)]
    server: *const Server,
}

// SAFETY: both pointers are only handed back to where they came from, by `drop`; the server is Sync.
unsafe impl Send for SuspendHook {}

#[cfg(not(ruby_gte_3_2))]
impl SuspendHook {
    pub(crate) fn install(_server: &Arc<Server>) -> Self {
        Self {}
    }
}

#[cfg(ruby_gte_3_2)]
mod hook {
    use std::ffi::c_void;

    use super::{Arc, SERVING, Server, SuspendHook};

    impl SuspendHook {
        pub(crate) fn install(server: &Arc<Server>) -> Self {
            let server = Arc::into_raw(Arc::clone(server));
            // SAFETY: `suspended` touches no Ruby; `server` stays valid until `drop` has taken the hook away.
            let hook = unsafe {
                rb_sys::rb_internal_thread_add_event_hook(
                    Some(suspended),
                    rb_sys::RUBY_INTERNAL_THREAD_EVENT_SUSPENDED,
                    server.cast_mut().cast(),
                )
            };
            Self { hook, server }
        }
    }

    impl Drop for SuspendHook {
        fn drop(&mut self) {
            // SAFETY: the hook came from `install`, and no callback runs once it is removed.
            unsafe {
                rb_sys::rb_internal_thread_remove_event_hook(self.hook);
                drop(Arc::from_raw(self.server));
            }
        }
    }

    /// Runs on the thread that lets go, without the GVL.
    unsafe extern "C" fn suspended(
        _event: rb_sys::rb_event_flag_t,
        _data: *const rb_sys::rb_internal_thread_event_data_t,
        server: *mut c_void,
    ) {
        let server = server.cast_const().cast::<Server>();
        if SERVING.get() == server {
            // SAFETY: `install` keeps it alive for as long as the hook is there.
            unsafe { &*server }.thread_suspended();
        }
    }
}
