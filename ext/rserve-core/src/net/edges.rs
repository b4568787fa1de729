//! What epoll said about a socket, as bits.

/// It may be read.
pub(crate) const READABLE: u8 = 2;
/// It takes more.
pub(crate) const WRITABLE: u8 = 4;
/// With [`READABLE`]: the peer has sent its last octet.
pub(crate) const ENDED: u8 = 8;
/// All of them; the other bits are free for other uses.
pub(crate) const EDGES: u8 = READABLE | WRITABLE | ENDED;
