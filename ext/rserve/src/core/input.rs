//! `rack.input`: Ruby's own `StringIO` for a body in memory, a `File` for one on disk, so that every method that an
//! application may call is there.

use magnus::rb_sys::FromRawValue;
use magnus::value::ReprValue;
use magnus::{Class, Error, Module, RClass, Ruby, Value};

use crate::vm::text;

/// A `StringIO` over a copy of `octets`.
pub(crate) fn string_io(ruby: &Ruby, octets: &[u8]) -> Result<Value, Error> {
    let string = magnus::rb_sys::protect(|| {
        // SAFETY: what this raises is caught, and nothing here needs dropping.
        unsafe { text::binary(octets) }
    })?;
    // SAFETY: made above.
    let string = unsafe { Value::from_raw(string) };
    class(ruby, "StringIO")?.new_instance((string,)).map(ReprValue::as_value)
}

/// A binary `File` that owns the descriptor `fd`.
pub(crate) fn file(ruby: &Ruby, fd: i32) -> Result<Value, Error> {
    let file: Value = class(ruby, "File")?.funcall("for_fd", (fd, "r+b"))?;
    Ok(file)
}

fn class(ruby: &Ruby, name: &str) -> Result<RClass, Error> {
    ruby.class_object().const_get(name)
}
