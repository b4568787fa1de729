//! Ruby ≥ 3.3 tells when a thread lets go of the GVL and when it wants it back. What happens in the middle of a request is
//! passed on to the server ([`Server::thread_suspended`]). Older Rubies do without: what they tell does not say of which
//! thread.

use std::sync::Arc;

use magnus::Ruby;
use rserve_core::pool::Seat;
use rserve_core::server::Server;

/// Whether this Ruby tells.
pub(crate) const ARE_TOLD: bool = cfg!(ruby_gte_3_3);

#[cfg(ruby_gte_3_3)]
pub(crate) use told::{Presence, PresenceHook, init};
#[cfg(not(ruby_gte_3_3))]
pub(crate) use untold::{Presence, PresenceHook, init};

#[cfg(not(ruby_gte_3_3))]
mod untold {
    use super::{Arc, Ruby, Seat, Server};

    pub(crate) fn init() {}

    /// Nothing is known of a pool thread.
    pub(crate) struct Presence;

    /// See [`Presence`].
    pub(crate) struct Serving;

    impl Presence {
        pub(crate) fn of_this_thread(_ruby: &Ruby, _server: &Arc<Server>, _seat: &Arc<Seat>) -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "as where it is told")]
        pub(crate) fn serving(&self) -> Serving {
            Serving
        }
    }

    /// No hook.
    pub(crate) struct PresenceHook;

    impl PresenceHook {
        pub(crate) fn install(_server: &Arc<Server>) -> Self {
            Self
        }
    }
}

#[cfg(ruby_gte_3_3)]
mod told {
    use std::ffi::c_void;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use rb_sys::VALUE;

    use rserve_core::telemetry::ThreadState;

    use super::{Arc, Ruby, Seat, Server};

    /// Under which a thread keeps its `PoolThread`.
    static KEY: OnceLock<rb_sys::rb_internal_thread_specific_key_t> = OnceLock::new();

    /// To be called once, with the GVL, before [`Presence::of_this_thread`].
    pub(crate) fn init() {
        // SAFETY: raises when other extensions have taken all eight keys; then the library does not load.
        KEY.get_or_init(|| unsafe { rb_sys::rb_internal_thread_specific_key_create() });
    }

    /// What is known of a pool thread, for as long as it works.
    pub(crate) struct Presence {
        state: Box<PoolThread>,
        thread: VALUE,
    }

    struct PoolThread {
        server: Arc<Server>,
        seat: Arc<Seat>,
        /// The thread is in the middle of a request.
        serving: AtomicBool,
        /// What the server gave when it was told that the thread let go of the GVL; 0 when it has not.
        left: AtomicU64,
    }

    impl PoolThread {
        fn leave(&self) {
            if self.serving.load(Ordering::SeqCst) && self.left.load(Ordering::SeqCst) == 0 {
                self.left.store(self.server.thread_suspended(), Ordering::SeqCst);
            }
        }

        fn come_back(&self) {
            if self.left.load(Ordering::SeqCst) == 0 {
                return;
            }
            match self.left.swap(0, Ordering::SeqCst) {
                0 => {}
                left => self.server.thread_back(left),
            }
        }
    }

    impl Presence {
        /// Of the calling thread, which holds the GVL.
        pub(crate) fn of_this_thread(_ruby: &Ruby, server: &Arc<Server>, seat: &Arc<Seat>) -> Self {
            let state = PoolThread {
                server: Arc::clone(server),
                seat: Arc::clone(seat),
                serving: AtomicBool::new(false),
                left: AtomicU64::new(0),
            };
            // SAFETY: plain; the thread outlives its own frame.
            let thread = unsafe { rb_sys::rb_thread_current() };
            let presence = Self { state: Box::new(state), thread };
            presence.show((&raw const *presence.state).cast_mut().cast());
            presence
        }

        fn show(&self, state: *mut c_void) {
            if let Some(key) = KEY.get() {
                // SAFETY: `thread` is the calling thread, `key` was created. What `state` points to stays where it is
                // until `drop` shows null, on the same thread.
                unsafe { rb_sys::rb_internal_thread_specific_set(self.thread, *key, state) };
            }
        }

        /// The thread serves a request for as long as what is given lives.
        pub(crate) fn serving(&self) -> Serving<'_> {
            self.state.serving.store(true, Ordering::SeqCst);
            Serving(&self.state)
        }
    }

    impl Drop for Presence {
        fn drop(&mut self) {
            self.show(std::ptr::null_mut());
        }
    }

    /// See [`Presence::serving`].
    pub(crate) struct Serving<'a>(&'a PoolThread);

    impl Drop for Serving<'_> {
        fn drop(&mut self) {
            self.0.serving.store(false, Ordering::SeqCst);
            self.0.come_back();
        }
    }

    /// Has Ruby tell, until it is dropped.
    pub(crate) struct PresenceHook {
        hook: *mut rb_sys::rb_internal_thread_event_hook_t,
        server: *const Server,
    }

    // SAFETY: both pointers are only handed back to where they came from, by `drop`; the server is Sync.
    unsafe impl Send for PresenceHook {}

    impl PresenceHook {
        pub(crate) fn install(server: &Arc<Server>) -> Self {
            let server = Arc::into_raw(Arc::clone(server));
            let events = rb_sys::RUBY_INTERNAL_THREAD_EVENT_SUSPENDED
                | rb_sys::RUBY_INTERNAL_THREAD_EVENT_READY
                | rb_sys::RUBY_INTERNAL_THREAD_EVENT_RESUMED;
            // SAFETY: `changed` touches no Ruby object; `server` stays valid until `drop` has taken the hook away.
            let hook = unsafe {
                rb_sys::rb_internal_thread_add_event_hook(Some(changed), events, server.cast_mut().cast())
            };
            Self { hook, server }
        }
    }

    impl Drop for PresenceHook {
        fn drop(&mut self) {
            // SAFETY: the hook came from `install`, and no callback runs once it is removed.
            unsafe {
                rb_sys::rb_internal_thread_remove_event_hook(self.hook);
                drop(Arc::from_raw(self.server));
            }
        }
    }

    /// Runs without the GVL, on the thread that it is about or, for READY, on the one that wakes it.
    unsafe extern "C" fn changed(
        event: rb_sys::rb_event_flag_t,
        data: *const rb_sys::rb_internal_thread_event_data_t,
        server: *mut c_void,
    ) {
        let Some(key) = KEY.get() else { return };
        // SAFETY: Ruby passes valid data. A thread that has a state is in `Core::work`, and cannot leave it before this
        // returns: it is the caller, or waits for it.
        let state = unsafe {
            let state = rb_sys::rb_internal_thread_specific_get((*data).thread, *key);
            state.cast_const().cast::<PoolThread>().as_ref()
        };
        let Some(state) = state else { return };
        if !std::ptr::eq(Arc::as_ptr(&state.server), server.cast_const().cast()) {
            return;
        }
        let now = match event {
            rb_sys::RUBY_INTERNAL_THREAD_EVENT_SUSPENDED => ThreadState::Io,
            rb_sys::RUBY_INTERNAL_THREAD_EVENT_READY => ThreadState::Gvl,
            _ => ThreadState::Running,
        };
        if now == ThreadState::Io {
            state.leave();
        } else {
            state.come_back();
        }
        state.seat.change(now);
    }
}
