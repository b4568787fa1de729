//! Writing to the log, which is whatever somebody else made of the descriptor: a file, a pipe, a socket, a terminal. Their
//! flags are not ours to change (others have the same open file), so the descriptor may well be one that blocks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

/// So much a pipe takes at once when poll(2) says that it can be written: a page, which is also what it takes in one piece.
const PART: usize = 4096;

/// Writes `octets`, and waits for no longer than `patience` in all when nobody takes them. Gives how many were taken.
///
/// # Errors
///
/// As write(2): the disk is full, the reader or the terminal is gone, `fd` is closed.
pub fn write_log(fd: RawFd, octets: &[u8], patience: Duration) -> io::Result<usize> {
    if fd < 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: only borrowed for this call; each system call below fails with EBADF on a closed number.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    let deadline = Instant::now() + patience;
    let mut taken = 0;
    while taken < octets.len() && writable(fd, deadline)? {
        let rest = &octets[taken..];
        // A file takes it all, so that a line is in one piece there whatever its length.
        let part = if kind == SFlag::S_IFREG { rest } else { &rest[..rest.len().min(PART)] };
        match write_now(fd, kind, part) {
            Ok(count) => taken += count,
            Err(Errno::EINTR) => {}
            // Another process was faster.
            Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Err(Errno::EAGAIN) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(taken)
}

fn writable(fd: BorrowedFd<'_>, deadline: Instant) -> nix::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], left) {
            Err(Errno::EINTR) => {}
            outcome => return outcome.map(|ready| ready > 0),
        }
    }
}

/// Between poll(2) and this, another process may have filled a pipe or a socket: it must not be waited for here.
fn write_now(fd: BorrowedFd<'_>, kind: SFlag, octets: &[u8]) -> nix::Result<usize> {
    match kind {
        SFlag::S_IFSOCK => send(fd.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
        SFlag::S_IFIFO => match write_unless_it_waits(fd, octets) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => nix::unistd::write(fd, octets),
            outcome => outcome,
        },
        _ => nix::unistd::write(fd, octets),
    }
}

/// As write(2) with `O_NONBLOCK`, but for this call alone. Pipes can from Linux 6.5 on.
#[cfg(target_env = "gnu")]
fn write_unless_it_waits(fd: BorrowedFd<'_>, octets: &[u8]) -> nix::Result<usize> {
    let part = libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
    // SAFETY: `part` describes `octets`, which the call reads and nothing changes meanwhile; -1 is "where the file is".
    let count = unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
    Errno::result(count).map(isize::unsigned_abs)
}

#[cfg(not(target_env = "gnu"))]
fn write_unless_it_waits(_: BorrowedFd<'_>, _: &[u8]) -> nix::Result<usize> {
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// The reading end of a pipe or socket, and the writing end.
    fn pairs() -> [(OwnedFd, OwnedFd); 2] {
        let (reader, writer) = UnixStream::pair().unwrap();
        [nix::unistd::pipe().unwrap(), (reader.into(), writer.into())]
    }

    #[test]
    fn long_texts_go_out_whole_where_somebody_reads() {
        let text = b"0123456789".repeat(100_000);
        for (reader, writer) in pairs() {
            let read = std::thread::spawn(move || {
                let mut octets = Vec::new();
                File::from(reader).read_to_end(&mut octets).map(|_| octets)
            });
            let taken = write_log(writer.as_raw_fd(), &text, Duration::from_secs(60)).unwrap();
            drop(writer);
            assert_eq!((taken, read.join().unwrap().unwrap() == text), (text.len(), true));
        }
    }

    #[test]
    fn nobody_is_waited_for_who_does_not_read() {
        for (_reader, writer) in pairs() {
            let taken = write_log(writer.as_raw_fd(), &[0; 10_000_000], NOW).unwrap();
            assert!((1..10_000_000).contains(&taken), "{taken}");
            assert_eq!(write_log(writer.as_raw_fd(), b"x", Duration::from_millis(1)).unwrap(), 0);
        }
    }

    #[test]
    fn what_fails_is_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        for (what, fd, errno) in [("full", full.as_raw_fd(), Errno::ENOSPC), ("closed", -1, Errno::EBADF)] {
            let failure = write_log(fd, b"x", NOW).unwrap_err();
            assert_eq!(failure.raw_os_error(), Some(errno as i32), "{what}");
        }
        for (reader, writer) in pairs() {
            drop(reader);
            let failure = write_log(writer.as_raw_fd(), b"x", NOW).unwrap_err();
            assert_eq!(failure.kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
