//! `rack.input`: Ruby's own `StringIO` for a body in memory, a `File` for one on disk, so that every method that an
//! application may call is there. A body that is read while it comes has `lib/rserve/server/upload_input.rb`, and what
//! that reads comes from here.

use std::time::Instant;

use magnus::rb_sys::FromRawValue;
use magnus::value::ReprValue;
use magnus::{Class, Error, Module, RClass, Ruby, Value};
use rserve_core::connection::Connection;
use rserve_core::server::{BodyRead, Server, wait_readable};

use crate::core::writer::{WAIT_SLICE, fiber_wait};
use crate::vm::gvl::without_gvl;
use crate::vm::{buffer, error, text};

/// Octets of a body that are read at once, at most.
const PIECE: usize = 64 * 1024;

/// Some of the body of the request of this serial, at most `most` octets, waiting for it; `nil` when there is no more.
pub(crate) fn receive(
    ruby: &Ruby,
    server: &Server,
    connection: &Connection,
    serial: u32,
    most: usize,
    may_ask: bool,
) -> Result<Value, Error> {
    let mut octets = buffer::take();
    let outcome = loop {
        match server.read_body(connection, serial, most.min(PIECE), &mut octets, may_ask) {
            Ok(BodyRead::Octets) => break string(&octets),
            Ok(BodyRead::End) => break Ok(ruby.qnil().as_value()),
            Ok(BodyRead::Wait { socket, limit }) => {
                let began = Instant::now();
                let waited = match fiber_wait::scheduled() {
                    true => fiber_wait::wait_readable(ruby, socket, limit),
                    false => {
                        without_gvl(|| wait_readable(&socket, limit.min(WAIT_SLICE)), &|| {});
                        Ok(())
                    }
                };
                server.waited_for_body(connection, serial, began.elapsed());
                if let Err(exit) = waited.and_then(|()| ruby.thread_check_ints()) {
                    break Err(exit);
                }
            }
            Err(failure) => break Err(error::body(ruby, &failure)),
        }
    };
    buffer::give(octets);
    outcome
}

fn string(octets: &[u8]) -> Result<Value, Error> {
    let string = magnus::rb_sys::protect(|| {
        // SAFETY: what this raises is caught, and nothing here needs dropping.
        unsafe { text::binary(octets) }
    })?;
    // SAFETY: made above.
    Ok(unsafe { Value::from_raw(string) })
}

/// A `StringIO` over a copy of `octets`.
pub(crate) fn string_io(ruby: &Ruby, octets: &[u8]) -> Result<Value, Error> {
    class(ruby, "StringIO")?.new_instance((string(octets)?,)).map(ReprValue::as_value)
}

/// A binary `File` that owns the descriptor `fd`.
pub(crate) fn file(ruby: &Ruby, fd: i32) -> Result<Value, Error> {
    let file: Value = class(ruby, "File")?.funcall("for_fd", (fd, "r+b"))?;
    Ok(file)
}

fn class(ruby: &Ruby, name: &str) -> Result<RClass, Error> {
    ruby.class_object().const_get(name)
}
