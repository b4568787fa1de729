//! A queue in the kernel through which processes pass open sockets to each other (`SCM_RIGHTS`, unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

/// Both of its ends, which every process forked after [`SocketQueue::new`] has, too.
#[derive(Debug)]
pub(crate) struct SocketQueue {
    front: OwnedFd,
    back: OwnedFd,
}

impl SocketQueue {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// `EMFILE` when no descriptor is left.
    pub(crate) fn new() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Every message stays whole, and goes to one receiver.
        let (front, back) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok(Self { front, back })
    }

    /// Adds `socket`, which the caller may then close, and a note of at least one octet.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the queue is full, `ETOOMANYREFS` when too many sockets are on their way.
    pub(crate) fn push(&self, socket: BorrowedFd<'_>, note: &[u8]) -> nix::Result<()> {
        let fds = [socket.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.back.as_raw_fd(), &[IoSlice::new(note)], &rights, flags, None)?;
        Ok(())
    }

    /// Takes the oldest, and its note.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when it is empty, `EMFILE` when no descriptor is left for it. Then it stays where it is, unless another
    /// thread took the last one just now.
    pub(crate) fn pop(&self, note: &mut [u8]) -> nix::Result<OwnedFd> {
        // A socket that gets no descriptor is lost.
        let spare = super::duplicate(self.front.as_raw_fd()).map_err(|error| super::errno_of(&error))?;
        drop(spare);
        let mut space = nix::cmsg_space!(RawFd);
        let mut slices = [IoSliceMut::new(note)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.front.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let mut taken = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                for fd in fds {
                    // SAFETY: the call above made this descriptor, and it belongs to nobody else.
                    taken = Some(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
        taken.ok_or(Errno::ECONNABORTED)
    }
}

/// The end at which sockets arrive.
impl AsFd for SocketQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.front.as_fd()
    }
}
