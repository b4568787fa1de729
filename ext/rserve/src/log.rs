//! `Rserve::Native.write_log`: the server's own lines.

use std::time::Duration;

use magnus::{Error, Object, RModule, RString, Ruby, function};

use crate::gvl::without_gvl;
use crate::{error, text};

/// Writes `text` to the descriptor and waits for `patience` milliseconds at most. Gives how many octets were taken.
fn write_log(ruby: &Ruby, fd: i32, text: RString, patience: u64) -> Result<usize, Error> {
    let octets = text::copy(text);
    let patience = Duration::from_millis(patience);
    let outcome = without_gvl(|| rserve_core::write_log(fd, &octets, patience), &|| {})
        // Ruby wants this thread: the line comes first, without any waiting.
        .unwrap_or_else(|| rserve_core::write_log(fd, &octets, Duration::ZERO));
    outcome.map_err(|failure| error::system(ruby, &failure))
}

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("write_log", function!(write_log, 3))
}
