//! The other end of a socket.

use std::net::{IpAddr, Ipv4Addr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// A TCP peer's address and port.
    Ip(IpAddr, u16),
    /// A UNIX domain socket has no address worth telling.
    Unix,
    /// The peer was gone before its address could be asked for.
    Unknown,
}

impl Peer {
    /// The address as `REMOTE_ADDR` gives it: UNIX peers are `127.0.0.1`, peers that vanished `0.0.0.0` (Puma,
    /// `Client#peerip`).
    pub fn ip(&self) -> IpAddr {
        match *self {
            Peer::Ip(ip, _) => ip,
            Peer::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Peer::Unknown => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}
