//! What the garbage collector must see, and code must change.

use std::cell::RefCell;

/// It is taken only for as long as [`Marked::with`] runs, in which there can be no collection: whenever one comes,
/// `mark` finds it free.
pub(crate) struct Marked<T>(RefCell<T>);

impl<T> Marked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Looks at it or changes it. `act` can neither run Ruby nor allocate its objects, nor use this again: what it
    /// captures is `Send`, and nothing of Ruby's is.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R + Send) -> R {
        act(&mut self.0.borrow_mut())
    }

    /// For the collector.
    pub(crate) fn mark(&self, see: impl FnOnce(&T)) {
        see(&self.0.borrow());
    }
}
