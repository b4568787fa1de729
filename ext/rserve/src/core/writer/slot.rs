//! Where the writer of a response is kept while the application makes its body: an `each` with our block, or a stream.
//!
//! Both the block and the stream may be used by several threads, and be kept and used when the response is long over.
//! So a thread that writes takes the writer out and puts it back, and what is not there cannot be written to.

use std::cell::RefCell;

use magnus::{Error, Ruby};

use crate::core::writer::{Writer, fiber_wait};

#[derive(Default)]
pub(crate) struct WriterSlot(RefCell<Content>);

#[derive(Default)]
enum Content {
    /// No response is being written, or no longer.
    #[default]
    Empty,
    Held(Writer),
    /// Some thread writes just now.
    Lent,
}

impl WriterSlot {
    pub(crate) fn new(writer: Writer) -> Self {
        Self(RefCell::new(Content::Held(writer)))
    }

    /// Puts the writer of the next response in.
    pub(crate) fn put(&self, writer: Writer) {
        self.0.replace(Content::Held(writer));
    }

    /// Takes the writer out for good. If another thread is in the middle of a write it is that thread that gives the
    /// response up, and there is none to be had.
    pub(crate) fn take(&self) -> Option<Writer> {
        match self.0.replace(Content::Empty) {
            Content::Held(writer) => Some(writer),
            Content::Lent | Content::Empty => None,
        }
    }

    /// Whether nothing can be written any more.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(*self.0.borrow(), Content::Empty)
    }

    /// Lets `write` have the writer, after any other thread that has it.
    ///
    /// # Errors
    ///
    /// The slot is empty, an interrupt came while waiting for the other thread, or `write`'s own.
    pub(crate) fn with<T>(
        &self,
        ruby: &Ruby,
        write: impl FnOnce(&mut Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut writer = loop {
            match self.0.replace(Content::Lent) {
                Content::Held(writer) => break writer,
                Content::Lent => fiber_wait::a_moment(ruby)?,
                Content::Empty => {
                    self.0.replace(Content::Empty);
                    return Err(Error::new(ruby.exception_io_error(), "closed stream"));
                }
            }
        };
        let outcome = write(&mut writer);
        self.give_back(writer);
        outcome
    }

    fn give_back(&self, writer: Writer) {
        // A thread that emptied the slot meanwhile wanted the response to be over.
        match self.0.replace(Content::Empty) {
            Content::Lent => drop(self.0.replace(Content::Held(writer))),
            Content::Empty | Content::Held(_) => writer.abort(),
        }
    }
}
