//! `Rserve::Native.keep`: the keeper, a Ruby that runs no Ruby.

use std::os::fd::{FromRawFd, OwnedFd};

use magnus::{Error, Object, RModule, Ruby, function};
use rserve_core::cluster::Pid;
use rserve_core::succession::keeper::{self, Begin};

use crate::vm::error;

/// Keeps the server whose first generation is the child `first`, and ends this process with it. `fd` is the channel to that
/// generation; `command` starts another one, in `dir`.
fn keep(
    ruby: &Ruby,
    first: i32,
    fd: i32,
    dir: String,
    skips_usr2: bool,
    command: Vec<String>,
) -> Result<(), Error> {
    let first = Pid::new(first).ok_or_else(|| error::bug(ruby, "a keeper without a generation"))?;
    // SAFETY: whoever executed this program has left the descriptor open for this call alone.
    let channel = unsafe { OwnedFd::from_raw_fd(fd) };
    let command = command.into_iter().map(Into::into).collect();
    let begin = Begin { first, channel, command, dir: dir.into(), skips_usr2 };
    match keeper::run(begin) {
        Ok(status) => keeper::end(status),
        Err(failure) => Err(error::system(ruby, &failure)),
    }
}

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("keep", function!(keep, 5))?;
    Ok(())
}
