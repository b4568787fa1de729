//! Connections that a worker passes on to another one between two requests.
//!
//! Nothing has been read of the next request, so all that the other worker must know is in a [`Ticket`]. They wait in
//! a queue that all workers share, as new connections wait in a listener's: a worker that would take a new one takes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::net::Peer;
use crate::sys::SocketQueue;

/// What is known of a connection besides its socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket {
    /// The other end, as accept(2) told it; a client that is gone by now has no address any more.
    pub peer: Peer,
    /// Which of the listeners it came by; workers of one cluster have them in the same order.
    pub listener: u32,
    /// How many requests it has brought.
    pub serial: u32,
    /// The client's address as the load balancer says (PROXY protocol).
    pub client: Option<IpAddr>,
}

/// Octets of an address: its version and itself.
const ADDRESS: usize = 17;

/// Octets of a ticket as it travels: listener, serial, client, peer, port.
const LENGTH: usize = 4 + 4 + ADDRESS + ADDRESS + 2;

/// In the place of a version: the peer of a UNIX socket.
const UNIX: u8 = 1;

impl Ticket {
    fn encode(self) -> Vec<u8> {
        let (peer, port) = match self.peer {
            Peer::Ip(ip, port) => (encode_address(Some(ip)), port),
            Peer::Unix => ([&[UNIX], &[0; ADDRESS - 1][..]].concat(), 0),
            Peer::Unknown => (encode_address(None), 0),
        };
        let (listener, serial) = (self.listener.to_ne_bytes(), self.serial.to_ne_bytes());
        [&listener[..], &serial, &encode_address(self.client), &peer, &port.to_ne_bytes()].concat()
    }

    /// `None` when it is not as long as it should be.
    fn decode(octets: &[u8]) -> Option<Self> {
        let (listener, octets) = octets.split_first_chunk()?;
        let (serial, octets) = octets.split_first_chunk()?;
        let (client, octets) = octets.split_first_chunk()?;
        let (peer, octets) = octets.split_first_chunk()?;
        let port = u16::from_ne_bytes(*octets.first_chunk()?);
        let peer = match decode_address(peer) {
            Some(ip) => Peer::Ip(ip, port),
            None if peer[0] == UNIX => Peer::Unix,
            None => Peer::Unknown,
        };
        let (listener, serial) = (u32::from_ne_bytes(*listener), u32::from_ne_bytes(*serial));
        Some(Self { peer, listener, serial, client: decode_address(client) })
    }
}

fn encode_address(ip: Option<IpAddr>) -> Vec<u8> {
    let mut octets = match ip {
        None => vec![0],
        Some(IpAddr::V4(ip)) => [&[4], &ip.octets()[..]].concat(),
        Some(IpAddr::V6(ip)) => [&[6], &ip.octets()[..]].concat(),
    };
    octets.resize(ADDRESS, 0);
    octets
}

fn decode_address(octets: &[u8; ADDRESS]) -> Option<IpAddr> {
    let [version, address @ ..] = octets;
    match (version, address) {
        (4, [a, b, c, d, ..]) => Some(Ipv4Addr::new(*a, *b, *c, *d).into()),
        (6, address) => Some(Ipv6Addr::from(*address).into()),
        _ => None,
    }
}

/// The queue, the same one in every process forked after it was made.
#[derive(Debug)]
pub struct Transfers(SocketQueue);

impl Transfers {
    pub(crate) fn new() -> nix::Result<Self> {
        SocketQueue::new().map(Self)
    }

    /// Offers a connection to the other workers. Nothing of it may have been read beyond the last request.
    ///
    /// # Errors
    ///
    /// The queue is full (`EAGAIN`, `ETOOMANYREFS`): the connection stays the caller's.
    pub(crate) fn offer(&self, socket: BorrowedFd<'_>, ticket: Ticket) -> nix::Result<()> {
        self.0.push(socket, &ticket.encode())
    }

    /// Takes the connection that was offered first.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is none, `EMFILE` when no descriptor is left for it.
    pub(crate) fn take(&self) -> nix::Result<(OwnedFd, Ticket)> {
        let mut octets = [0; LENGTH];
        let socket = self.0.pop(&mut octets)?;
        Ok((socket, Ticket::decode(&octets).ok_or(Errno::ECONNABORTED)?))
    }
}

/// Readable when there is one.
impl AsFd for Transfers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::stream::{Received, Stream};

    #[test]
    fn a_ticket_says_the_same_at_both_ends() {
        let (v4, v6) = (IpAddr::from([10, 0, 0, 1]), "::ffff:10.0.0.1".parse().unwrap());
        for peer in [Peer::Ip(v4, 1), Peer::Ip(v6, u16::MAX), Peer::Unix, Peer::Unknown] {
            for client in [None, Some(v4), Some(v6)] {
                let ticket = Ticket { peer, listener: 3, serial: u32::MAX, client };
                let octets = ticket.encode();
                assert_eq!(octets.len(), LENGTH);
                assert_eq!(Ticket::decode(&octets), Some(ticket));
                assert_eq!(Ticket::decode(&octets[1..]), None);
            }
        }
    }

    #[test]
    fn a_connection_goes_on_where_it_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        let transfers = Transfers::new().unwrap();
        assert_eq!(transfers.take().unwrap_err(), Errno::EAGAIN);
        let peer = Peer::Ip(address.ip(), address.port());
        let ticket = Ticket { peer, listener: 0, serial: 7, client: None };
        transfers.offer(socket.as_fd(), ticket).unwrap();
        drop(socket);
        client.write_all(b"next").unwrap();
        let (socket, taken) = transfers.take().unwrap();
        assert_eq!(taken, ticket);
        let mut octets = [0; 8];
        assert_eq!(Stream::new(socket).receive(&mut octets).unwrap(), Received::Octets(4));
        assert_eq!(transfers.take().unwrap_err(), Errno::EAGAIN);
    }

    #[test]
    fn what_does_not_fit_stays_with_the_one_who_offers_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let transfers = Transfers::new().unwrap();
        let ticket = Ticket { peer: Peer::Unknown, listener: 0, serial: 0, client: None };
        let offered = (0..10_000).take_while(|_| transfers.offer(listener.as_fd(), ticket).is_ok()).count();
        assert!((16..10_000).contains(&offered), "{offered}");
        let taken = (0..10_000).take_while(|_| transfers.take().is_ok()).count();
        assert_eq!(taken, offered);
    }
}
