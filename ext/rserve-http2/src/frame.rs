//! Frames (RFC 9113 §§3.4, 4, 6): their heads, and those that are written whole.

use crate::Reason;

/// Octets of payload that a frame has at most, here and until a client says that it takes more, which nobody asks of it.
pub const MAX_FRAME: usize = 16 * 1024;

/// Octets of a frame's head.
pub(crate) const HEAD: usize = 9;

/// What a client sends first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a client that has sent `octets` so far speaks HTTP/2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preface {
    /// It does.
    Whole,
    /// Nobody knows yet.
    Partial,
    /// It does not.
    Absent,
}

/// See [`Preface`].
pub fn preface(octets: &[u8]) -> Preface {
    let length = octets.len().min(PREFACE.len());
    match octets[..length] == PREFACE[..length] {
        true if length == PREFACE.len() => Preface::Whole,
        true => Preface::Partial,
        false => Preface::Absent,
    }
}

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Settings that are sent or heeded (RFC 9113 §6.5.2).
pub(crate) mod setting {
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    /// `None` when there are too few octets.
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = octets.first_chunk()?;
        let [a, b, c, kind, flags, ref stream @ ..] = *head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(Self { length, kind, flags, stream: u32::from_be_bytes(*stream) & 0x7fff_ffff })
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let length = (self.length as u32).to_be_bytes();
        out.extend_from_slice(&[length[1], length[2], length[3], self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The first four octets as a number.
pub(crate) fn number(octets: &[u8]) -> Option<u32> {
    octets.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// The payload of DATA or HEADERS without its padding: where it begins and ends.
pub(crate) fn unpadded(head: Head, payload: &[u8]) -> Result<(usize, usize), Reason> {
    if !head.has(flag::PADDED) {
        return Ok((0, payload.len()));
    }
    let padding = usize::from(*payload.first().ok_or(Reason::FrameSizeError)?);
    match payload.len().checked_sub(padding) {
        Some(end) if end >= 1 => Ok((1, end)),
        _ => Err(Reason::ProtocolError),
    }
}

fn small(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    Head { length: payload.len(), kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

pub(crate) fn settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    Head { length: settings.len() * 6, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn settings_ack(out: &mut Vec<u8>) {
    small(out, kind::SETTINGS, flag::ACK, 0, &[]);
}

pub(crate) fn ping_ack(out: &mut Vec<u8>, octets: &[u8]) {
    small(out, kind::PING, flag::ACK, 0, octets);
}

pub(crate) fn window_update(out: &mut Vec<u8>, stream: u32, octets: u32) {
    small(out, kind::WINDOW_UPDATE, 0, stream, &octets.to_be_bytes());
}

pub(crate) fn rst_stream(out: &mut Vec<u8>, stream: u32, reason: Reason) {
    small(out, kind::RST_STREAM, 0, stream, &(reason as u32).to_be_bytes());
}

pub(crate) fn goaway(out: &mut Vec<u8>, last: u32, reason: Reason) {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last.to_be_bytes());
    payload[4..].copy_from_slice(&(reason as u32).to_be_bytes());
    small(out, kind::GOAWAY, 0, 0, &payload);
}

/// A header block, in as many frames as it takes.
pub(crate) fn headers(out: &mut Vec<u8>, stream: u32, block: &[u8], end_stream: bool) {
    let ends = if end_stream { flag::END_STREAM } else { 0 };
    let mut parts = block.chunks(MAX_FRAME).peekable();
    let mut kind = kind::HEADERS;
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
        let first = if kind == kind::HEADERS { ends } else { 0 };
        small(out, kind, last | first, stream, part);
        kind = kind::CONTINUATION;
    }
}
