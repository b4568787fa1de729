//! A connection that speaks HTTP/2: it carries requests, each of which has an [`Exchange`] of its own.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Activity, Exchange, SCRATCH};
use crate::config::options::Options;
use crate::connection::ConnectionId;
use crate::net::edges::{ENDED, READABLE};
use crate::net::http2::{Standing, Wire};
use crate::net::stream::Received;

/// A connection that has nothing to do gives back buffers larger than this.
const IDLE_CAPACITY: usize = 4 * 1024;

/// How soon it is looked at again when nothing else is due: the last of its requests may have ended meanwhile, and then
/// it is idle.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

pub(crate) struct Carriage {
    wire: Arc<Wire>,
    /// Came and is not whole.
    input: Vec<u8>,
    /// The requests that it carries, by their streams; some of them may be over.
    streams: HashMap<u32, ConnectionId>,
    /// The client's address as the load balancer says.
    client: Option<IpAddr>,
    /// The socket had nothing more at the last read; cleared by a readable edge.
    drained: bool,
    /// The peer has sent its last octet.
    ended: bool,
    /// The last octets of a body that came went to a file.
    pub(crate) stores: bool,
    /// When no more requests are taken.
    leaves_at: Option<Instant>,
    /// Since when a frame is on its way, or a head in several of them, which is what `in_block` tells.
    part_since: Option<Instant>,
    in_block: bool,
    /// When a request last came or ended, when the socket last took something.
    used_at: Instant,
    moved_at: Instant,
    moved: u64,
}

/// What a read brought.
pub(crate) enum Brought {
    Octets(usize),
    Nothing,
    End,
}

/// Why a connection that carries requests is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// It takes no more requests from now on.
    Leave,
    /// The client takes nothing, or has begun a frame or a head and does not end it.
    Late,
    /// Nothing is asked for.
    Idle,
    /// There was nothing better to wait for.
    Look,
}

impl Carriage {
    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    fn saw(&mut self, edges: u8) {
        if edges & READABLE != 0 {
            self.drained = false;
        }
        self.ended |= edges & ENDED != 0;
        if self.wire.socket(|socket| socket.saw(edges)) == Some(true) {
            self.drained = false;
        }
    }

    /// What came and was not understood yet; to be given back by [`Carriage::keep_input`].
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        mem::take(&mut self.input)
    }

    /// `took_frame` when some was understood since.
    pub(crate) fn keep_input(&mut self, input: Vec<u8>, took_frame: bool, now: Instant) {
        self.input = input;
        if self.input.is_empty() && self.input.capacity() > IDLE_CAPACITY {
            self.input = Vec::new();
        }
        let in_block = self.wire.standing().in_block;
        let before = mem::replace(&mut self.in_block, in_block);
        // However many frames it comes in, a head is one thing to wait for.
        let goes_on = !took_frame || (before && in_block);
        let begun = !self.input.is_empty() || in_block;
        self.part_since = begun.then(|| self.part_since.filter(|_| goes_on).unwrap_or(now));
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Reads what is there to the end of `input`.
    pub(crate) fn read(&mut self, input: &mut Vec<u8>) -> io::Result<Brought> {
        SCRATCH.with_borrow_mut(|scratch| match self.wire.receive(scratch)? {
            Received::Octets(count) => {
                let short = count < scratch.len() && !self.ended;
                self.drained = short && self.wire.socket(|socket| socket.short_read_drains()) == Some(true);
                input.extend_from_slice(&scratch[..count]);
                Ok(Brought::Octets(count))
            }
            Received::WouldBlock => {
                self.drained = true;
                Ok(Brought::Nothing)
            }
            Received::Eof => Ok(Brought::End),
        })
    }

    pub(crate) fn add(&mut self, stream: u32, id: ConnectionId, now: Instant) {
        self.streams.insert(stream, id);
        self.used_at = now;
    }

    pub(crate) fn stream(&self, stream: u32) -> Option<ConnectionId> {
        self.streams.get(&stream).copied()
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = ConnectionId> {
        self.streams.values().copied()
    }

    /// Forgets requests that are over.
    pub(crate) fn prune(&mut self, is_known: impl Fn(ConnectionId) -> bool) {
        if self.streams.len() > self.wire.standing().streams {
            self.streams.retain(|_, id| is_known(*id));
        }
    }

    /// No more requests are taken from `at` on; the client hears now that there is an end.
    pub(crate) fn leave_at(&mut self, at: Instant) {
        if self.leaves_at.is_none_or(|before| at < before) {
            self.leaves_at = Some(at);
            self.wire.warn();
        }
    }

    /// When there is something to do for the connection, and what, if nothing comes before.
    pub(crate) fn due(&mut self, options: &Options, stops: bool, now: Instant) -> (Instant, Due) {
        let Standing { streams, requests, leaves, sent, blocked, .. } = self.wire.standing();
        if sent != self.moved || !blocked {
            (self.moved, self.moved_at) = (sent, now);
        }
        if streams > 0 {
            self.used_at = now;
        }
        let idle = match requests {
            _ if stops || leaves => options.drain_grace,
            0 => options.first_data_timeout,
            _ => options.persistent_timeout,
        };
        let leaves_at = self.leaves_at.filter(|_| !leaves);
        let part = self.part_since.map(|since| since + options.first_data_timeout);
        let stalled = blocked.then(|| self.moved_at + options.write_timeout);
        [
            leaves_at.map(|at| (at, Due::Leave)),
            part.map(|at| (at, Due::Late)),
            stalled.map(|at| (at, Due::Late)),
            (streams == 0 && !blocked).then(|| (self.used_at + idle, Due::Idle)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
        .unwrap_or((now + LOOK_AGAIN, Due::Look))
    }
}

impl Exchange {
    /// The client speaks HTTP/2: from now on the connection, whose socket is known to epoll, carries requests.
    pub(crate) fn become_carriage(&mut self, now: Instant) {
        let Some(socket) = self.stream.take() else { return };
        let input = mem::take(&mut self.input);
        self.preface = None;
        self.activity = Activity::Carrying;
        self.carriage = Some(Box::new(Carriage {
            wire: Wire::new(socket),
            input,
            streams: HashMap::new(),
            client: self.request.client,
            drained: self.drained,
            ended: self.ended,
            stores: false,
            leaves_at: None,
            part_since: None,
            in_block: false,
            used_at: now,
            moved_at: now,
            moved: 0,
        }));
    }

    pub(crate) fn carriage(&mut self) -> Option<&mut Carriage> {
        self.carriage.as_deref_mut()
    }

    pub(crate) fn is_carriage(&self) -> bool {
        self.carriage.is_some()
    }

    pub(super) fn carriage_saw(&mut self, edges: u8) {
        if let Some(carriage) = &mut self.carriage {
            carriage.saw(edges);
        }
    }

    /// It carries nothing more; what the client still sends is thrown away for a while, so that it reads what it was sent.
    pub(crate) fn carriage_lingers(&mut self) {
        if let Some(carriage) = self.carriage.take() {
            self.stream = carriage.wire.end();
            self.linger();
        }
    }
}
