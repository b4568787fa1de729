//! `Rserve::Stream`: what a streaming body (`body.call(stream)`, Rack 3) writes to. It may outlive the call and be
//! written to from another thread.

use magnus::Class;
use magnus::value::ReprValue;
use magnus::{DataTypeFunctions, Error, Module, RModule, Ruby, TypedData, Value, method, typed_data::Obj};

use crate::core::writer::Writer;
use crate::core::writer::slot::WriterSlot;
use crate::vm::{error, text};

/// Holds the response's writer until the stream is closed. If it is forgotten without, the client sees an incomplete
/// response: a writer that is dropped aborts it.
#[derive(TypedData)]
#[magnus(class = "Rserve::Stream", free_immediately, wb_protected)]
pub(crate) struct Stream {
    writer: WriterSlot,
}

impl DataTypeFunctions for Stream {}

impl Stream {
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer: WriterSlot::new(writer) }
    }

    /// Takes the writer away: the application failed.
    pub(crate) fn take(&self) -> Option<Writer> {
        self.writer.take()
    }

    /// Sends the head, if nothing was written yet; failures show at the next write.
    pub(crate) fn flush_head(&self, ruby: &Ruby) -> Result<(), Error> {
        if self.writer.is_empty() {
            return Ok(());
        }
        error::forgive(self.writer.with(ruby, |writer| writer.flush(ruby)))
    }

    fn write(ruby: &Ruby, this: Obj<Self>, parts: &[Value]) -> Result<usize, Error> {
        let mut written = 0;
        for part in parts {
            let part = text::to_s(*part)?;
            written += this.writer.with(ruby, |writer| writer.write_string(ruby, part))?;
        }
        Ok(written)
    }

    fn syswrite(ruby: &Ruby, this: Obj<Self>, part: Value) -> Result<usize, Error> {
        Self::write(ruby, this, &[part])
    }

    fn append(ruby: &Ruby, this: Obj<Self>, part: Value) -> Result<Obj<Self>, Error> {
        Self::write(ruby, this, &[part])?;
        Ok(this)
    }

    fn flush(ruby: &Ruby, this: Obj<Self>) -> Result<Obj<Self>, Error> {
        this.writer.with(ruby, |writer| writer.flush(ruby))?;
        Ok(this)
    }

    fn close(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        if !this.writer.is_empty() {
            // Another thread may be writing: its part belongs to the response.
            this.writer.with(ruby, |_| Ok(()))?;
        }
        if let Some(writer) = this.writer.take() {
            writer.finish_from_anywhere();
        }
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.writer.is_empty()
    }

    /// The request's body is in `rack.input`; nothing follows it.
    fn read(ruby: &Ruby, _this: Obj<Self>, arguments: &[Value]) -> Value {
        match arguments.first() {
            Some(length) if !length.is_nil() => ruby.qnil().as_value(),
            _ => ruby.str_new("").as_value(),
        }
    }

    fn close_read(&self) {}
}

pub(crate) fn init(ruby: &Ruby, rserve: RModule) -> Result<(), Error> {
    let class = rserve.define_class("Stream", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("write", method!(Stream::write, -1))?;
    // What Puma gives is a socket, which applications may write to like this.
    class.define_method("syswrite", method!(Stream::syswrite, 1))?;
    class.define_method("<<", method!(Stream::append, 1))?;
    class.define_method("flush", method!(Stream::flush, 0))?;
    class.define_method("close", method!(Stream::close, 0))?;
    class.define_method("close_write", method!(Stream::close, 0))?;
    class.define_method("close_read", method!(Stream::close_read, 0))?;
    class.define_method("closed?", method!(Stream::is_closed, 0))?;
    class.define_method("read", method!(Stream::read, -1))?;
    Ok(())
}
