//! One connection: which streams there are, how much may be sent on each, and what the client may still ask for.

mod closed;
mod receive;
mod send;
mod settings;
mod streams;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::budget::Budget;
use crate::fields::FieldList;
use crate::frame::{self, setting};
use crate::hpack::{Decoder, Encoder};
use crate::limits::Limits;
use crate::reason::Reason;
use crate::request::RequestHead;

use closed::Closed;
use streams::Streams;

/// The window that a client gives before it says otherwise (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;

/// The largest window.
const WINDOW_MOST: i64 = 0x7fff_ffff;

/// What one frame means to the server.
#[derive(Debug, Eq, PartialEq)]
pub enum Event {
    /// More octets are needed.
    Partial,
    /// Nothing.
    Nothing,
    /// A request begins.
    Request {
        /// Its stream.
        stream: u32,
        /// Its head.
        head: RequestHead,
        /// No body follows.
        ended: bool,
    },
    /// Some of a body came.
    Data {
        /// Its stream.
        stream: u32,
        /// Where it is in the octets that were given.
        octets: Range<usize>,
        /// It is the last of it.
        ended: bool,
    },
    /// A body has ended, by fields that follow it.
    End {
        /// Its stream.
        stream: u32,
    },
    /// A stream that had begun is over: nobody waits for its response.
    Reset {
        /// Which one.
        stream: u32,
    },
    /// More may be sent: on this stream, or on all.
    Window {
        /// `None` for all.
        stream: Option<u32>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// The client's first octets, and its first frame, have come.
    opened: Opened,
    /// A header block that is not whole.
    block: Option<Block>,
    decoder: Decoder,
    encoder: Encoder,
    fields: FieldList,
    streams: Streams,
    closed: Closed,
    /// The newest stream that the client has begun.
    newest: u32,
    requests: u32,
    /// Streams beyond this one are not served.
    last: Option<u32>,
    /// The client was told that there is an end.
    warned: bool,
    /// Octets that may be sent on all streams together, and on a new one.
    send_window: i64,
    first_window: i64,
    /// Octets that came and that the client was not yet told of.
    unacknowledged: u32,
    resets: Budget,
    idle_frames: Budget,
    failed: Option<Reason>,
    out: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Opened {
    Nothing,
    Preface,
    Settings,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    octets: Vec<u8>,
    frames: usize,
    end_stream: bool,
    /// Its stream depends on itself.
    circular: bool,
}

impl Session {
    /// A connection at its beginning; what the server has to say first is in [`Session::output`].
    pub fn new(limits: Limits) -> Self {
        let mut out = Vec::new();
        frame::settings(
            &mut out,
            &[
                (setting::MAX_CONCURRENT_STREAMS, u32::try_from(limits.streams).unwrap_or(u32::MAX)),
                (setting::INITIAL_WINDOW_SIZE, limits.stream_window),
                (setting::MAX_HEADER_LIST_SIZE, u32::try_from(limits.header_list).unwrap_or(u32::MAX)),
            ],
        );
        let more = limits.connection_window.saturating_sub(WINDOW as u32);
        if more > 0 {
            frame::window_update(&mut out, 0, more);
        }
        Self {
            opened: Opened::Nothing,
            block: None,
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            fields: FieldList::new(limits.header_list),
            streams: Streams::default(),
            closed: Closed::default(),
            newest: 0,
            requests: 0,
            last: None,
            warned: false,
            send_window: WINDOW,
            first_window: WINDOW,
            unacknowledged: 0,
            resets: Budget::new(limits.resets, limits.resets_per_second),
            idle_frames: Budget::new(limits.idle_frames, limits.idle_frames_per_second),
            failed: None,
            out,
            limits,
        }
    }

    /// What is to be sent; whoever sends some of it takes it out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Streams that are not over, those included that the client has reset and the server is not done with.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Requests that came.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Part of a header block has come.
    pub fn in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Nothing that the client sends is heeded any more.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Tells the client that there will be an end, so that it opens no more streams; those that it opens before it has read
    /// this are served (RFC 9113 §6.8).
    pub fn warn(&mut self) {
        if !self.warned && self.last.is_none() && self.failed.is_none() {
            self.warned = true;
            frame::goaway(&mut self.out, 0x7fff_ffff, Reason::NoError);
        }
    }

    /// Takes no more streams. Those that there are go on.
    pub fn leave(&mut self) {
        if self.last.is_none() && self.failed.is_none() {
            self.last = Some(self.newest);
            frame::goaway(&mut self.out, self.newest, Reason::NoError);
        }
    }

    /// Whether no more streams are taken.
    pub fn leaves(&self) -> bool {
        self.last.is_some() || self.failed.is_some()
    }

    /// Gives memory back, when nothing is going on.
    pub fn rest(&mut self) {
        self.decoder.rest();
        self.fields.clear();
        if self.out.is_empty() && self.out.capacity() > 4 * 1024 {
            self.out = Vec::new();
        }
    }

    /// The connection is over, and the client is told why.
    fn fail(&mut self, reason: Reason) -> Reason {
        if self.failed.is_none() {
            frame::goaway(&mut self.out, self.newest, reason);
        }
        *self.failed.get_or_insert(reason)
    }
}
