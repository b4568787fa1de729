//! The streams that are not over.

/// One of them.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Octets that may be sent.
    pub(super) window: i64,
    /// Octets that came and that the client was not yet told of.
    pub(super) unacknowledged: u32,
    /// The client has sent all of its request.
    pub(super) remote_ended: bool,
    /// All of the response is out.
    pub(super) local_ended: bool,
    /// It is over before its time; the server is not yet done with it.
    pub(super) reset: bool,
    /// Octets of the body, as told and as they came.
    pub(super) content_length: Option<u64>,
    pub(super) received: u64,
}

impl Stream {
    /// Nothing may follow on either side; the server only has not let go of it yet.
    pub(super) fn is_over(&self) -> bool {
        self.remote_ended && self.local_ended
    }

    /// Whether the body is as long as the client has said, at its end or before.
    pub(super) fn fits(&self, ended: bool) -> bool {
        self.content_length.is_none_or(|told| match ended {
            true => self.received == told,
            false => self.received <= told,
        })
    }
}

/// See the module. There are few, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Streams(Vec<Stream>);

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that count for the client's limit.
    pub(super) fn open(&self) -> usize {
        self.0.iter().filter(|stream| !stream.local_ended).count()
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.0.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Stream> {
        self.place(id).map(|place| &self.0[place])
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.place(id).map(|place| &mut self.0[place])
    }

    /// Adds the newest.
    pub(super) fn push(&mut self, stream: Stream) {
        self.0.push(stream);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        self.place(id).map(|place| self.0.remove(place))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut()
    }
}
