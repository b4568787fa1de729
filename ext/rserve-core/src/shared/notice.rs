//! What an operator should hear of.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fmt, io, mem};

use nix::errno::Errno;

use super::calls::{Late, Stall};
use crate::net::Peer;
use crate::net::tls::Fault;

/// Something an operator should hear of; the bridge logs it.
#[derive(Debug)]
pub enum Notice {
    /// No connection can be taken at the moment.
    AcceptFailed(Errno),
    /// What a client has not read yet could not be stored, and its response was cut.
    NotHeld(String),
    /// epoll itself failed.
    PollFailed(io::Error),
    /// So many clients were cut off, because they read too slowly.
    ReadersCut(usize),
    /// A request was answered in the application's place.
    GivenUp(Late),
    /// Requests hang in the application.
    Stalled(Stall),
    /// This part of a request did not come in time.
    TimedOut(Peer, &'static str),
    /// A client and the server did not come to terms.
    TlsFailed(Peer, Fault),
}

impl Notice {
    /// The client that it is about.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Notice::TimedOut(peer, _) | Notice::TlsFailed(peer, _) => Some(peer.ip()),
            Notice::AcceptFailed(_)
            | Notice::GivenUp(_)
            | Notice::NotHeld(_)
            | Notice::PollFailed(_)
            | Notice::ReadersCut(_)
            | Notice::Stalled(_) => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::AcceptFailed(errno) => write!(formatter, "cannot accept connections: {}", errno.desc()),
            Notice::GivenUp(late) => write!(
                formatter,
                "{late} was answered 504: the application has had it for {:.1} s",
                late.age.as_secs_f64()
            ),
            Notice::NotHeld(failure) => write!(
                formatter,
                "a response was cut: what its client has not read yet cannot be stored in the temporary folder: {failure}"
            ),
            Notice::PollFailed(failure) => write!(formatter, "cannot wait for connections: {failure}"),
            Notice::ReadersCut(count) => {
                write!(
                    formatter,
                    "clients that read too slowly were cut off (unread_limit, or a thread was wanted): {count}"
                )
            }
            Notice::Stalled(stall) => stall.fmt(formatter),
            Notice::TimedOut(_, part) => write!(formatter, "timed out waiting for the {part} of a request"),
            Notice::TlsFailed(_, fault) => formatter.write_str(&fault.message),
        }
    }
}

/// Those that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Notices(Mutex<Vec<Notice>>);

impl Notices {
    fn lock(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, notice: Notice) {
        let peer = notice.peer().map(tracing::field::display);
        tracing::warn!(target: "rserve_core::server", peer, "{notice}");
        let mut notices = self.lock();
        // Nobody reads a thousand copies of the same line.
        if notices.len() < 8 {
            notices.push(notice);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<Notice> {
        mem::take(&mut *self.lock())
    }
}
