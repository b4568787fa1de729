//! System calls that need `unsafe` or have no safe wrapper; nothing here decides anything.
#![allow(unsafe_code)]

mod bell;
mod beneath;
pub(crate) mod forks;
mod log;
mod malloc;
mod packets;
mod parking;
mod peer;
#[cfg_attr(feature = "loom", allow(dead_code))]
mod shared_memory;
mod signals;
mod socket_queue;
mod spare_threads;
mod stack;
pub(crate) mod tls;

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::epoll::Epoll;
use nix::sys::signal::{SigSet, SigmaskHow};

pub use bell::Bell;
pub(crate) use beneath::open_beneath;
pub use log::write_log;
pub use malloc::{limit_arenas, trim_heap};
pub(crate) use packets::{Packets, packet_pair, stream_pair};
pub(crate) use parking::Parking;
pub use peer::Peer;
pub(crate) use shared_memory::SharedFile;
#[cfg(not(feature = "loom"))]
pub(crate) use shared_memory::SharedWords;
pub(crate) use signals::{Signals, die_by, ignore_signal};
pub(crate) use socket_queue::SocketQueue;
pub use spare_threads::could_make as could_make_threads;
pub use stack::release_stack;

/// A file in `folder` that has no name (or loses it at once): it goes with its last descriptor.
///
/// # Errors
///
/// The folder is missing, full or not writable.
pub(crate) fn unlinked_file(folder: &Path) -> io::Result<File> {
    let anonymous =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(folder);
    match anonymous {
        // Some file systems (overlay on old kernels, NFS) know no O_TMPFILE.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) =>
        {
            named_and_unlinked(folder)
        }
        outcome => outcome,
    }
}

fn named_and_unlinked(folder: &Path) -> io::Result<File> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("rserve-{}-{serial}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Processor time that this process has used so far, all of its threads together.
pub(crate) fn processor_time() -> Duration {
    let spent = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID);
    spent.map(Duration::from).unwrap_or_default()
}

/// Nanoseconds of a clock that is the same in every process of the system, and goes on only forward. `exact` or as of the
/// last tick of the kernel, a few milliseconds ago, which costs next to nothing.
pub(crate) fn nanoseconds(exact: bool) -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let clock = if exact { ClockId::CLOCK_MONOTONIC } else { ClockId::CLOCK_MONOTONIC_COARSE };
    let now = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Duplicates `fd` (close-on-exec), so that the owner of the original may close it.
///
/// # Errors
///
/// `EBADF` when `fd` is not open, `EMFILE` when no descriptor is left.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: only borrowed for this call; F_DUPFD_CLOEXEC touches no memory and fails with EBADF on a closed number.
    let copy = fcntl(unsafe { BorrowedFd::borrow_raw(fd) }, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: `copy` was made by the call above and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The system's number of what it refused.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw)
}

/// Takes over the descriptor `fd` that this program was executed with; a program that it executes does not get it.
///
/// # Errors
///
/// `EBADF` when `fd` is not open.
pub(crate) fn own(fd: RawFd) -> io::Result<OwnedFd> {
    let copy = duplicate(fd)?;
    // SAFETY: the call above shows that it is open; who executed this program has left it to its caller alone.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(copy)
}

/// Starts a thread that Ruby does not know, and that is sent no signal.
///
/// # Errors
///
/// There can be no further one.
pub(crate) fn native_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A new thread inherits the mask.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    before.thread_set_mask()?;
    spawned
}

/// Takes the next connection from `listener`: non-blocking, close-on-exec, with the peer's address.
///
/// # Errors
///
/// `EAGAIN` when none waits; `EMFILE`, `ECONNABORTED`, … as accept4(2).
pub(crate) fn accept(listener: BorrowedFd<'_>) -> nix::Result<(OwnedFd, Peer)> {
    // SAFETY: sockaddr_storage is plain data for which all-zero octets are a valid value.
    let mut address: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` and `length` are valid for writes and describe each other.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    };
    let fd = Errno::result(fd)?;
    // SAFETY: `fd` was made by the call above and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((fd, peer_of(&address)))
}

fn peer_of(address: &libc::sockaddr_storage) -> Peer {
    match libc::c_int::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller.
            let v4 = unsafe { &*(&raw const *address).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Peer::Ip(IpAddr::V4(ip), u16::from_be(v4.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which is smaller.
            let v6 = unsafe { &*(&raw const *address).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Peer::Ip(IpAddr::V6(ip), u16::from_be(v6.sin6_port))
        }
        libc::AF_UNIX => Peer::Unix,
        _ => Peer::Unknown,
    }
}

/// A second descriptor of `poll`'s epoll instance, for the flags that mio does not offer (`EPOLLEXCLUSIVE`, level
/// triggering).
///
/// # Errors
///
/// `EMFILE` when no descriptor is left.
pub(crate) fn epoll_of(poll: &mio::Poll) -> io::Result<Epoll> {
    Ok(Epoll(duplicate(poll.as_raw_fd())?))
}

/// What a stream socket knows of its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PeerState {
    /// It may send and read.
    Open,
    /// It sends nothing more; TCP does not tell whether it still reads.
    HalfClosed,
    /// It reads nothing more.
    Gone,
}

/// See [`PeerState`]; what came and was not read yet makes no difference.
pub(crate) fn peer_state(fd: BorrowedFd<'_>) -> PeerState {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `polled` is one valid pollfd, and the call returns at once.
    unsafe { libc::poll(&raw mut polled, 1, 0) };
    match polled.revents {
        events if events & (libc::POLLHUP | libc::POLLERR) != 0 => PeerState::Gone,
        events if events & libc::POLLRDHUP != 0 => PeerState::HalfClosed,
        _ => PeerState::Open,
    }
}

/// Waits until a read would not wait, for `limit` at most; a signal may end it before.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let _ = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], limit);
}

/// Whether a read (or accept) would not wait; also at the end of what can be read.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
}
