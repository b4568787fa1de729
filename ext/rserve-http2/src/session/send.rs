//! The way out: heads, data, and ends of responses.

use super::Session;
use super::closed::End;
use crate::frame::{self, Head, MAX_FRAME, flag, kind};
use crate::reason::Reason;

/// Octets of a body that make up for a frame or two of the client's that let them be sent.
const WORTH: usize = 1024;

impl Session {
    /// Whether somebody still waits for the response on `stream`.
    pub fn is_awaited(&self, stream: u32) -> bool {
        self.failed.is_none() && self.streams.get(stream).is_some_and(|stream| !stream.reset)
    }

    /// Appends a head: `status`, and `fields`, whose names are in lower case. With `ended` no body follows.
    pub fn send_head<'a>(
        &mut self,
        stream: u32,
        status: u16,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        ended: bool,
    ) {
        let mut block = Vec::with_capacity(256);
        self.encoder.begin(&mut block);
        self.encoder.status(status, &mut block);
        for (name, value) in fields {
            self.encoder.field(name, value, &mut block);
        }
        frame::headers(&mut self.out, stream, &block, ended);
        if ended {
            self.response_ends(stream);
        }
    }

    /// How many octets of a body may be sent on `stream` now.
    pub fn capacity(&self, stream: u32) -> usize {
        let window = self.streams.get(stream).map_or(0, |stream| stream.window.min(self.send_window));
        usize::try_from(window).unwrap_or(0)
    }

    /// Begins a frame with `length` octets of a body, no more than [`MAX_FRAME`] and [`Session::capacity`]: the caller
    /// appends them to what this returns. With `ended` they are the last ones.
    pub fn begin_data(&mut self, stream: u32, length: usize, ended: bool) -> &mut Vec<u8> {
        debug_assert!(length <= MAX_FRAME && length <= self.capacity(stream));
        if let Some(known) = self.streams.get_mut(stream) {
            known.window -= length as i64;
            self.send_window -= length as i64;
        }
        let flags = if ended { flag::END_STREAM } else { 0 };
        Head { length, kind: kind::DATA, flags, stream }.write(&mut self.out);
        if length >= WORTH {
            self.idle_frames.earn(2);
        }
        if ended {
            self.response_ends(stream);
        }
        &mut self.out
    }

    fn response_ends(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.local_ended = true;
        }
        self.resets.earn(1);
    }

    /// The server is done with `stream`, whose response is whole: ends it, if that was not said yet.
    pub fn finish(&mut self, stream: u32) {
        let Some(known) = self.streams.remove(stream) else { return };
        if known.reset || self.failed.is_some() {
            return;
        }
        if !known.local_ended {
            Head { length: 0, kind: kind::DATA, flags: flag::END_STREAM, stream }.write(&mut self.out);
            self.resets.earn(1);
        }
        if known.remote_ended {
            return self.closed.note(stream, End::Told);
        }
        // The rest of the request is of no use to anybody (RFC 9113 §8.1).
        frame::rst_stream(&mut self.out, stream, Reason::NoError);
        self.closed.note(stream, End::Untold);
    }

    /// The server is done with `stream`, whose response is not whole and never will be.
    pub fn abort(&mut self, stream: u32, reason: Reason) {
        let Some(known) = self.streams.remove(stream) else { return };
        if known.reset || self.failed.is_some() {
            return;
        }
        if known.local_ended && known.remote_ended {
            return self.closed.note(stream, End::Told);
        }
        frame::rst_stream(&mut self.out, stream, reason);
        self.closed.note(stream, End::Untold);
    }
}
