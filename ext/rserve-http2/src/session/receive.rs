//! The way in: frames, one at a time.

use super::closed::End;
use super::streams::Stream;
use super::{Block, Event, Opened, Session, WINDOW_MOST};
use crate::frame::{self, HEAD, Head, MAX_FRAME, Preface, flag, kind};
use crate::reason::Reason;
use crate::request::{self, RequestHead};

/// Frames that a request, and a part of a body that is worth it, make up for.
const WORTH_OF_REQUEST: u32 = 4;

impl Session {
    /// Goes on with `octets`, all that came and was not yet consumed, at `now`, in milliseconds of any clock: how many of
    /// them are done with, and what they mean. [`Event::Partial`] consumes none.
    ///
    /// # Errors
    ///
    /// The connection is over; what the client is told is in [`Session::output`].
    pub fn advance(&mut self, octets: &[u8], now: u64) -> Result<(usize, Event), Reason> {
        if let Some(reason) = self.failed {
            return Err(reason);
        }
        self.go_on(octets, now).map_err(|reason| self.fail(reason))
    }

    fn go_on(&mut self, octets: &[u8], now: u64) -> Result<(usize, Event), Reason> {
        if self.opened == Opened::Nothing {
            return match frame::preface(octets) {
                Preface::Absent => Err(Reason::ProtocolError),
                Preface::Partial => Ok((0, Event::Partial)),
                Preface::Whole => {
                    self.opened = Opened::Preface;
                    Ok((frame::PREFACE.len(), Event::Nothing))
                }
            };
        }
        let Some(head) = Head::read(octets) else { return Ok((0, Event::Partial)) };
        // Before the rest of it has come.
        if head.length > MAX_FRAME {
            return Err(Reason::FrameSizeError);
        }
        if self.opened == Opened::Preface && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Reason::ProtocolError);
        }
        let Some(payload) = octets[HEAD..].get(..head.length) else { return Ok((0, Event::Partial)) };
        let event = self.frame(head, payload, now)?;
        self.opened = Opened::Settings;
        let event = match event {
            Event::Data { stream, octets, ended } => {
                Event::Data { stream, octets: octets.start + HEAD..octets.end + HEAD, ended }
            }
            event => event,
        };
        Ok((HEAD + head.length, event))
    }

    fn frame(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(Reason::ProtocolError);
        }
        match head.kind {
            kind::DATA => self.data(head, payload, now),
            kind::HEADERS => self.headers(head, payload, now),
            kind::PRIORITY => self.priority(head, payload, now),
            kind::RST_STREAM => self.rst_stream(head, payload, now),
            kind::SETTINGS => self.settings(head, payload, now),
            // Only a server pushes.
            kind::PUSH_PROMISE => Err(Reason::ProtocolError),
            kind::PING => self.ping(head, payload, now),
            kind::GOAWAY => match (head.stream, payload.len()) {
                (0, 8..) => self.spend_idle(now).map(|()| Event::Nothing),
                (0, _) => Err(Reason::FrameSizeError),
                _ => Err(Reason::ProtocolError),
            },
            kind::WINDOW_UPDATE => self.window_update(head, payload, now),
            kind::CONTINUATION => self.continuation(head, payload, now),
            // RFC 9113 §5.5.
            _ => self.spend_idle(now).map(|()| Event::Nothing),
        }
    }

    /// A frame that asks for work and brings nothing.
    pub(super) fn spend_idle(&mut self, now: u64) -> Result<(), Reason> {
        if self.idle_frames.spend(now) { Ok(()) } else { Err(Reason::EnhanceYourCalm) }
    }

    /// Whether the client may have begun this stream: it has an odd number, which is not beyond the newest.
    fn is_idle(&self, stream: u32) -> bool {
        stream.is_multiple_of(2) || stream > self.newest
    }

    /// A stream is over because of what the client has sent on it.
    fn refuse(&mut self, stream: u32, reason: Reason, now: u64) -> Result<Event, Reason> {
        frame::rst_stream(&mut self.out, stream, reason);
        match self.streams.get_mut(stream) {
            Some(known) => {
                known.reset = true;
                known.remote_ended = true;
                self.closed.note(stream, End::Untold);
                // A client could have as much done for nothing by mistakes as by resets.
                self.spend_reset(now)?;
                Ok(Event::Reset { stream })
            }
            None => {
                self.closed.note(stream, End::Untold);
                self.spend_reset(now)?;
                Ok(Event::Nothing)
            }
        }
    }

    fn spend_reset(&mut self, now: u64) -> Result<(), Reason> {
        if self.resets.spend(now) { Ok(()) } else { Err(Reason::EnhanceYourCalm) }
    }

    fn data(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Reason::ProtocolError);
        }
        let (start, end) = frame::unpadded(head, payload)?;
        let ended = head.has(flag::END_STREAM);
        if start == end && !ended {
            self.spend_idle(now)?;
        }
        // Padding counts; none of it is kept, so that all of it may come again.
        let length = payload.len() as u32;
        if self.unacknowledged + length > self.limits.connection_window {
            return Err(Reason::FlowControlError);
        }
        self.unacknowledged += length;
        if self.unacknowledged >= self.limits.connection_window / 2 {
            frame::window_update(&mut self.out, 0, std::mem::take(&mut self.unacknowledged));
        }
        let limit = self.limits.stream_window;
        let Some(stream) = self.streams.get_mut(head.stream) else {
            return match self.closed.end(head.stream) {
                Some(End::Untold) => self.spend_idle(now).map(|()| Event::Nothing),
                // The server may have reset it long ago, and the client's upload be slow to hear of it (RFC 9113 §5.1).
                None if self.closed.has_forgotten() => self.spend_idle(now).map(|()| Event::Nothing),
                _ => Err(Reason::StreamClosed),
            };
        };
        if stream.reset {
            return match self.closed.end(head.stream) {
                Some(End::Told) => Err(Reason::StreamClosed),
                _ => self.spend_idle(now).map(|()| Event::Nothing),
            };
        }
        if stream.is_over() {
            return Err(Reason::StreamClosed);
        }
        if stream.remote_ended {
            return self.refuse(head.stream, Reason::StreamClosed, now);
        }
        if stream.unacknowledged + length > limit {
            return self.refuse(head.stream, Reason::FlowControlError, now);
        }
        stream.received += (end - start) as u64;
        stream.unacknowledged += length;
        if !stream.fits(ended) {
            return self.refuse(head.stream, Reason::ProtocolError, now);
        }
        stream.remote_ended = ended;
        if stream.unacknowledged >= limit / 2 && !ended {
            let octets = std::mem::take(&mut stream.unacknowledged);
            frame::window_update(&mut self.out, head.stream, octets);
        }
        Ok(Event::Data { stream: head.stream, octets: start..end, ended })
    }

    fn headers(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if head.stream.is_multiple_of(2) {
            return Err(Reason::ProtocolError);
        }
        let (mut start, end) = frame::unpadded(head, payload)?;
        let mut circular = false;
        if head.has(flag::PRIORITY) {
            let depends = frame::number(&payload[start..end]).ok_or(Reason::FrameSizeError)? & 0x7fff_ffff;
            circular = depends == head.stream;
            start += 5;
            if start > end {
                return Err(Reason::FrameSizeError);
            }
        }
        let mut block = Block {
            stream: head.stream,
            octets: Vec::new(),
            frames: 0,
            end_stream: head.has(flag::END_STREAM),
            circular,
        };
        if head.has(flag::END_HEADERS) {
            return self.block_ends(&block, &payload[start..end], now);
        }
        block.octets.extend_from_slice(&payload[start..end]);
        self.block = Some(block);
        Ok(Event::Nothing)
    }

    fn continuation(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        let Some(block) = &mut self.block else { return Err(Reason::ProtocolError) };
        block.frames += 1;
        // It is held in memory, and cannot be decoded before it is whole.
        if block.octets.len() + payload.len() > self.limits.header_block
            || block.frames > self.limits.continuations
        {
            return Err(Reason::EnhanceYourCalm);
        }
        block.octets.extend_from_slice(payload);
        if !head.has(flag::END_HEADERS) {
            return Ok(Event::Nothing);
        }
        match self.block.take() {
            Some(block) => self.block_ends(&block, &block.octets, now),
            None => Err(Reason::InternalError),
        }
    }

    fn block_ends(&mut self, block: &Block, octets: &[u8], now: u64) -> Result<Event, Reason> {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        // Whatever becomes of them: the next block counts on it.
        let decoded = self.decoder.decode(octets, &mut fields);
        let event = match decoded {
            Ok(()) => self.fields_came(block, &fields, now),
            Err(_) => Err(Reason::CompressionError),
        };
        self.fields = fields;
        event
    }

    fn fields_came(&mut self, block: &Block, fields: &crate::FieldList, now: u64) -> Result<Event, Reason> {
        let id = block.stream;
        if id > self.newest {
            return self.request(block, fields, now);
        }
        let Some(stream) = self.streams.get_mut(id) else {
            return match self.closed.end(id) {
                Some(End::Untold) => self.spend_idle(now).map(|()| Event::Nothing),
                Some(End::Told) => Err(Reason::StreamClosed),
                // RFC 9113 §5.1.1: it was skipped, or is long over.
                None => Err(Reason::ProtocolError),
            };
        };
        if stream.reset {
            return match self.closed.end(id) {
                Some(End::Told) => Err(Reason::StreamClosed),
                _ => self.spend_idle(now).map(|()| Event::Nothing),
            };
        }
        if stream.is_over() {
            return Err(Reason::StreamClosed);
        }
        if stream.remote_ended {
            return self.refuse(id, Reason::StreamClosed, now);
        }
        let malformed = !block.end_stream || request::check_trailers(fields).is_err() || !stream.fits(true);
        if malformed || block.circular {
            return self.refuse(id, Reason::ProtocolError, now);
        }
        stream.remote_ended = true;
        Ok(Event::End { stream: id })
    }

    fn request(&mut self, block: &Block, fields: &crate::FieldList, now: u64) -> Result<Event, Reason> {
        let id = block.stream;
        self.newest = id;
        if self.last.is_some() {
            // The client was told that these are not served, and may try elsewhere.
            return self.refuse(id, Reason::RefusedStream, now);
        }
        if self.streams.open() >= self.limits.streams {
            return self.refuse(id, Reason::RefusedStream, now);
        }
        let head = match RequestHead::of(fields, block.end_stream) {
            Ok(head) if !block.circular => head,
            _ => return self.refuse(id, Reason::ProtocolError, now),
        };
        self.requests = self.requests.saturating_add(1);
        self.idle_frames.earn(WORTH_OF_REQUEST);
        self.streams.push(Stream {
            id,
            window: self.first_window,
            unacknowledged: 0,
            remote_ended: block.end_stream,
            local_ended: false,
            reset: false,
            content_length: head.content_length,
            received: 0,
        });
        Ok(Event::Request { stream: id, head, ended: block.end_stream })
    }

    fn priority(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if head.stream == 0 {
            return Err(Reason::ProtocolError);
        }
        self.spend_idle(now)?;
        let reason = match (payload.len(), frame::number(payload)) {
            (5, Some(depends)) if depends & 0x7fff_ffff == head.stream => Reason::ProtocolError,
            (5, _) => return Ok(Event::Nothing),
            _ => Reason::FrameSizeError,
        };
        // A stream that has not begun cannot be reset.
        if self.is_idle(head.stream) { Err(reason) } else { self.refuse_known(head.stream, reason, now) }
    }

    /// As [`Session::refuse`]; a stream that is over stays so.
    fn refuse_known(&mut self, stream: u32, reason: Reason, now: u64) -> Result<Event, Reason> {
        match self.streams.get(stream) {
            Some(known) if !known.reset => self.refuse(stream, reason, now),
            _ => Err(reason),
        }
    }

    fn rst_stream(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if self.is_idle(head.stream) {
            return Err(Reason::ProtocolError);
        }
        if payload.len() != 4 {
            return Err(Reason::FrameSizeError);
        }
        match self.streams.get_mut(head.stream) {
            Some(stream) if !stream.reset => {
                stream.reset = true;
                stream.remote_ended = true;
                // One that is answered costs nothing.
                let answered = stream.local_ended;
                self.closed.note(head.stream, End::Told);
                if !answered {
                    self.spend_reset(now)?;
                }
                Ok(Event::Reset { stream: head.stream })
            }
            _ => self.spend_idle(now).map(|()| Event::Nothing),
        }
    }

    fn ping(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if head.stream != 0 {
            return Err(Reason::ProtocolError);
        }
        if payload.len() != 8 {
            return Err(Reason::FrameSizeError);
        }
        self.spend_idle(now)?;
        if !head.has(flag::ACK) {
            frame::ping_ack(&mut self.out, payload);
        }
        Ok(Event::Nothing)
    }

    fn window_update(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if payload.len() != 4 {
            return Err(Reason::FrameSizeError);
        }
        let more = i64::from(frame::number(payload).unwrap_or(0) & 0x7fff_ffff);
        self.spend_idle(now)?;
        if head.stream == 0 {
            if more == 0 {
                return Err(Reason::ProtocolError);
            }
            self.send_window += more;
            return match self.send_window > WINDOW_MOST {
                true => Err(Reason::FlowControlError),
                false => Ok(Event::Window { stream: None }),
            };
        }
        if self.is_idle(head.stream) {
            return Err(Reason::ProtocolError);
        }
        let Some(stream) = self.streams.get_mut(head.stream).filter(|stream| !stream.reset) else {
            return Ok(Event::Nothing);
        };
        if more == 0 {
            return self.refuse(head.stream, Reason::ProtocolError, now);
        }
        stream.window += more;
        match stream.window > WINDOW_MOST {
            true => self.refuse(head.stream, Reason::FlowControlError, now),
            false => Ok(Event::Window { stream: Some(head.stream) }),
        }
    }
}
