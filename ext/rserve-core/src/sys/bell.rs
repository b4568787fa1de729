//! Ends a wait from anywhere: another thread, a trap, a signal handler.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Rings until it is stopped. For one thread that waits, and any number that ring.
#[derive(Debug)]
pub struct Bell {
    fd: EventFd,
}

impl Bell {
    /// A bell that does not ring.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)? })
    }

    /// Makes [`Bell::wait`] return, now or the next time. One `write(2)`: allowed anywhere, a signal handler included.
    pub fn ring(&self) {
        // Fails only when the counter is at its end, and then the bell is ringing.
        let _ = self.fd.write(1);
    }

    /// Stops the ringing.
    pub fn stop(&self) {
        let _ = self.fd.read();
    }

    /// Readable while it rings: for whoever waits for several things.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Waits for the bell, for any of `others` to be readable, for a signal, or until `deadline` (`None`: for ever);
    /// to be called without the GVL.
    ///
    /// # Errors
    ///
    /// As poll(2), but for `EINTR`, which ends the wait like the bell.
    pub fn wait(&self, others: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
        let bell = self.fd.as_fd();
        let mut fds: Vec<PollFd<'_>> =
            std::iter::once(&bell).chain(others).map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, deadline.map_or(PollTimeout::NONE, until)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Rounded up: a wait that ended before its deadline would be repeated for nothing.
fn until(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = (left + Duration::from_nanos(999_999)).as_millis();
    i32::try_from(millis)
        .ok()
        .and_then(|millis| PollTimeout::try_from(millis).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bell_that_rang_before_the_wait_is_heard_until_it_is_stopped() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        let start = Instant::now();
        bell.wait(&[], Some(start + Duration::from_secs(20))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        bell.stop();
        let deadline = Instant::now() + Duration::from_millis(20);
        bell.wait(&[], Some(deadline)).unwrap();
        assert!(Instant::now() >= deadline);
    }
}
