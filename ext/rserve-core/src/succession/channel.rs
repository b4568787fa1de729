//! The socket between a keeper and one generation: packets, and open files that come with them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::message::LONGEST;
use crate::sys::Packets;

/// One end. A packet is read whole, or not at all; nobody waits.
#[derive(Debug)]
pub struct Channel(Packets);

/// What came through a channel.
#[derive(Debug)]
pub struct Packet {
    /// Never empty.
    pub octets: Vec<u8>,
    /// In the order in which they were sent.
    pub files: Vec<OwnedFd>,
}

impl Channel {
    /// Both ends: the keeper's, and a descriptor for the generation. Both are closed by exec.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) = crate::sys::packet_pair()?;
        Ok((Self(Packets::new(own)), other))
    }

    /// The end that is `fd`.
    pub fn of(fd: OwnedFd) -> Self {
        Self(Packets::new(fd))
    }

    /// Sends a packet.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the other one has not read for long, `EPIPE` when it is gone.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.0.send(packet, None)
    }

    /// Sends a packet with an open file.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn send_file(&self, packet: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
        self.0.send(packet, Some(file))
    }

    /// The next packet; `None` when the other end is gone.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is none.
    pub fn receive(&self) -> io::Result<Option<Packet>> {
        let mut octets = vec![0; LONGEST];
        let (count, files) = match self.0.receive(&mut octets) {
            // Told once, and before what came, when the other end went without having read everything.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.0.receive(&mut octets)?,
            received => received?,
        };
        octets.truncate(count);
        Ok((count > 0).then_some(Packet { octets, files }))
    }
}

/// Readable when there is a packet, or the other end is gone.
impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_apart_and_bring_files() {
        let (keeper, generation) = Channel::pair().unwrap();
        let generation = Channel::of(generation);
        assert_eq!(keeper.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let file = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = file.local_addr().unwrap();
        generation.send_file(b"one", file.as_fd()).unwrap();
        generation.send(b"two").unwrap();
        let mut packet = keeper.receive().unwrap().unwrap();
        assert_eq!((packet.octets.as_slice(), packet.files.len()), (&b"one"[..], 1));
        let same = std::net::TcpListener::from(packet.files.remove(0));
        assert_eq!(same.local_addr().unwrap(), address);
        assert_eq!(keeper.receive().unwrap().unwrap().octets, b"two");
        drop(generation);
        assert!(keeper.receive().unwrap().is_none());
        assert!(keeper.send(b"three").is_err());
    }

    #[test]
    fn last_words_come_although_the_other_end_went_without_reading() {
        let (keeper, generation) = Channel::pair().unwrap();
        let generation = Channel::of(generation);
        keeper.send(b"unread").unwrap();
        generation.send(b"failed").unwrap();
        drop(generation);
        assert_eq!(keeper.receive().unwrap().unwrap().octets, b"failed");
        assert!(keeper.receive().unwrap().is_none());
    }
}
