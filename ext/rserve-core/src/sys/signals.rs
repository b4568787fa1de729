//! Signals as numbers in a pipe, for a process whose every signal is one loop's affair.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{pipe2, read};

/// Where the handler writes; there is one such process-wide thing, as there is one handler of a signal.
static WRITER: AtomicI32 = AtomicI32::new(-1);

/// The end at which signals arrive.
#[derive(Debug)]
pub(crate) struct Signals {
    reader: OwnedFd,
    _writer: OwnedFd,
}

extern "C" fn note(number: libc::c_int) {
    let octet = number as u8;
    let errno = Errno::last_raw();
    // SAFETY: write(2) may be called in a handler; one octet is read from a local. A full pipe loses what it has had often.
    unsafe { libc::write(WRITER.load(Ordering::Relaxed), (&raw const octet).cast(), 1) };
    Errno::set_raw(errno);
}

impl Signals {
    /// Takes `signals` from whoever had them. To be called once.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(crate) fn take(signals: &[Signal]) -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        WRITER.store(writer.as_raw_fd(), Ordering::Relaxed);
        let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
        for signal in signals {
            // SAFETY: `note` only makes calls that are allowed in a handler.
            unsafe { sigaction(*signal, &action) }?;
        }
        let mut unblocked = SigSet::empty();
        signals.iter().for_each(|signal| unblocked.add(*signal));
        unblocked.thread_unblock()?;
        Ok(Self { reader, _writer: writer })
    }

    /// Those that have come; never waits.
    pub(crate) fn come(&self) -> Vec<Signal> {
        let mut octets = [0; 64];
        let mut come = Vec::new();
        loop {
            match read(&self.reader, &mut octets) {
                Ok(0) | Err(Errno::EAGAIN) => return come,
                Ok(count) => {
                    come.extend(
                        octets[..count].iter().filter_map(|octet| Signal::try_from(i32::from(*octet)).ok()),
                    );
                }
                Err(Errno::EINTR) => {}
                Err(_) => return come,
            }
        }
    }
}

/// Readable when there are some.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Ignores `signal` from here on.
pub(crate) fn ignore_signal(signal: Signal) {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(signal, &action) };
}

/// Ends this process as `signal` ends one that has no handler; returns if it does not.
pub(crate) fn die_by(signal: Signal) {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(signal, &action) };
    let _ = nix::sys::signal::raise(signal);
}
