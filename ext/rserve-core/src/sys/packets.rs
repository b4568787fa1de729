//! Packets between two processes, with open files (`SOCK_SEQPACKET`, `SCM_RIGHTS`; unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

/// As many files as the kernel passes on in one packet.
const MOST_FILES: usize = 253;

/// One end of a pair.
#[derive(Debug)]
pub(crate) struct Packets {
    fd: OwnedFd,
}

/// Two ends that are connected to each other, both closed by exec.
///
/// # Errors
///
/// No descriptor is left.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// As [`packet_pair`], of a stream, which waits for nobody.
///
/// # Errors
///
/// No descriptor is left.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?)
}

impl Packets {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends one packet, perhaps with a file, without waiting.
    ///
    /// # Errors
    ///
    /// As sendmsg(2).
    pub(crate) fn send(&self, packet: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fds: Vec<RawFd> = file.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.fd.as_raw_fd(), &[IoSlice::new(packet)], rights, flags, None)?;
        Ok(())
    }

    /// Takes the next packet: how many octets it has, and its files. No octets are the end.
    ///
    /// # Errors
    ///
    /// As recvmsg(2); `EAGAIN` when there is none.
    pub(crate) fn receive(&self, packet: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = nix::cmsg_space!([RawFd; MOST_FILES]);
        let mut slices = [IoSliceMut::new(packet)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.fd.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let mut files = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                // SAFETY: the call above made these descriptors, and they belong to nobody else.
                files.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        Ok((message.bytes, files))
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
