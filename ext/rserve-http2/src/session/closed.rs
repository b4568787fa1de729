//! Streams that were closed not long ago: what still comes for them is on its way, or a mistake.

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Both sides have sent all, or the client has reset it: nothing may follow.
    Told,
    /// The server has reset it: what the client has sent meanwhile means nothing.
    Untold,
}

/// As many are remembered.
const REMEMBERED: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Closed {
    ends: Vec<(u32, End)>,
    next: usize,
    forgotten: bool,
}

impl Closed {
    pub(super) fn note(&mut self, stream: u32, end: End) {
        if self.ends.len() < REMEMBERED {
            return self.ends.push((stream, end));
        }
        self.forgotten = true;
        self.ends[self.next] = (stream, end);
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Whether there were more than are remembered.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten
    }

    pub(super) fn end(&self, stream: u32) -> Option<End> {
        self.ends.iter().rev().find(|(other, _)| *other == stream).map(|(_, end)| *end)
    }
}
