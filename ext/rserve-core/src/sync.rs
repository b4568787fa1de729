//! What threads share: the standard library's atomics and locks, or loom's, which try every order of what threads do
//! (`crate::models`). A protocol between threads that takes its types from here can be proved there.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

/// As `std::sync::atomic`. Loom takes accesses that are `SeqCst` for `AcqRel`; here a load comes after all `SeqCst`
/// writes of its thread, as on every machine: what "one of the two sees the other" needs.
#[cfg(feature = "loom")]
pub(crate) mod atomic {
    use std::cell::Cell;

    use loom::sync::atomic as loom;
    pub(crate) use loom::{Ordering, fence};

    ::loom::thread_local! {
        static WROTE: Cell<bool> = Cell::new(false);
    }

    fn before_load(order: Ordering) {
        if order == Ordering::SeqCst && WROTE.with(|wrote| wrote.replace(false)) {
            fence(Ordering::SeqCst);
        }
    }

    fn after_write(order: Ordering) {
        if order == Ordering::SeqCst {
            WROTE.with(|wrote| wrote.set(true));
        }
    }

    macro_rules! atomic {
        ($name:ident, $value:ty, $($change:ident)*) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name(loom::$name);

            #[allow(dead_code)]
            impl $name {
                #[track_caller]
                pub(crate) fn new(value: $value) -> Self {
                    Self(loom::$name::new(value))
                }

                #[track_caller]
                pub(crate) fn load(&self, order: Ordering) -> $value {
                    before_load(order);
                    self.0.load(order)
                }

                #[track_caller]
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.0.store(value, order);
                    after_write(order);
                }

                #[track_caller]
                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    before_load(success);
                    let exchanged = self.0.compare_exchange(current, new, success, failure);
                    after_write(success);
                    exchanged
                }

                #[track_caller]
                pub(crate) fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    update: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    before_load(set);
                    let updated = self.0.fetch_update(set, fetch, update);
                    after_write(set);
                    updated
                }

                $(
                    #[track_caller]
                    pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
                        before_load(order);
                        let before = self.0.$change(value, order);
                        after_write(order);
                        before
                    }
                )*
            }
        };
    }

    atomic!(AtomicBool, bool, swap fetch_or fetch_and);
    atomic!(AtomicU8, u8, swap fetch_or fetch_and fetch_max);
    atomic!(AtomicU32, u32, swap fetch_add fetch_sub fetch_max fetch_min);
    atomic!(AtomicU64, u64, swap fetch_add fetch_sub fetch_max fetch_min);
    atomic!(AtomicUsize, usize, swap fetch_add fetch_sub fetch_max fetch_min);
}

/// In place of memory that processes share: of one process.
#[cfg(feature = "loom")]
#[derive(Debug)]
pub(crate) struct SharedWords(Vec<atomic::AtomicU32>);

#[cfg(feature = "loom")]
impl SharedWords {
    pub(crate) fn zeroed(count: std::num::NonZeroUsize) -> std::io::Result<Self> {
        Ok(Self((0..count.get()).map(|_| atomic::AtomicU32::new(0)).collect()))
    }
}

#[cfg(feature = "loom")]
impl std::ops::Deref for SharedWords {
    type Target = [atomic::AtomicU32];

    fn deref(&self) -> &[atomic::AtomicU32] {
        &self.0
    }
}
