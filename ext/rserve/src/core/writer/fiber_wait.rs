//! Waiting in a fiber whose thread has a scheduler: for something that the scheduler knows how to wait for, so that other
//! fibers of the thread go on meanwhile.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use magnus::value::ReprValue;
use magnus::{Error, Module, RClass, Ruby, Value};
use rserve_core::connection::Connection;
use rserve_core::server::Server;

use crate::vm::protect;

/// Whether the calling fiber is one of those that do not hold up their thread.
pub(in crate::core) fn scheduled() -> bool {
    // SAFETY: the GVL is held; plain look at the calling fiber and its thread.
    cfg!(ruby_gte_3_3) && unsafe { rb_sys::rb_fiber_scheduler_current() } != rb_sys::Qnil as rb_sys::VALUE
}

/// Waits a moment for something that another fiber or thread of Ruby is about to do.
pub(super) fn a_moment(ruby: &Ruby) -> Result<(), Error> {
    if scheduled() {
        return ruby.module_kernel().funcall::<_, _, Value>("sleep", (0.001,)).map(|_| ());
    }
    protect::sleep_a_moment()
}

/// As [`Server::wait_for_reader`], by a fiber. What the scheduler raises ends the wait.
pub(super) fn wait_for_reader(
    ruby: &Ruby,
    server: &Server,
    connection: &Arc<Connection>,
    limit: Duration,
    all: bool,
) -> Result<Option<io::Result<bool>>, Error> {
    let (descriptor, fiber) = match server.wait_in_fiber(connection, all) {
        Ok(Some(waits)) => waits,
        Ok(None) => return Ok(Some(Ok(true))),
        Err(failure) => return Ok(Some(Err(failure))),
    };
    wait_readable(ruby, descriptor, limit)?;
    Ok(Some(server.has_waited_in_fiber(connection, all, fiber)))
}

/// Waits, for `limit` at most, until `descriptor` can be read.
pub(in crate::core) fn wait_readable(ruby: &Ruby, descriptor: OwnedFd, limit: Duration) -> Result<(), Error> {
    let class: RClass = ruby.class_object().const_get("IO")?;
    // Ruby's from here on: closed below, or by the collector.
    let io: Value = class.funcall("for_fd", (descriptor.into_raw_fd(),))?;
    let waited = io.funcall::<_, _, Value>("wait_readable", (limit.as_secs_f64(),));
    let closed = io.funcall::<_, _, Value>("close", ());
    waited.and(closed).map(|_| ())
}
