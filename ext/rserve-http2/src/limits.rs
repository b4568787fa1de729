//! How much of everything a client may send.

/// Caps on one connection. What is counted in frames comes back with time and with what the client does that is of use
/// (see [`crate::Session`]), so that nobody meets these who does not waste the server's time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Streams at a time; one more is refused. A stream that the client has reset counts until the server is done with it.
    pub streams: usize,
    /// Octets of a decoded list of fields, with 32 for each field (RFC 9113 §10.5.1); a request with more is answered 431.
    pub header_list: usize,
    /// Octets of a header block as it comes; one with more ends the connection.
    pub header_block: usize,
    /// CONTINUATION frames of one header block.
    pub continuations: usize,
    /// Octets of a stream's body that may come before the client hears that it may go on.
    pub stream_window: u32,
    /// As much of all streams together.
    pub connection_window: u32,
    /// Streams that the client may reset before they are answered, beyond those that are answered …
    pub resets: u32,
    /// … and a second more of them …
    pub resets_per_second: u32,
    /// Frames that ask for work and bring nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones …
    pub idle_frames: u32,
    /// … and so many more a second.
    pub idle_frames_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 100,
            header_list: 64 * 1024,
            header_block: 64 * 1024,
            continuations: 16,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            resets: 200,
            resets_per_second: 20,
            idle_frames: 2000,
            idle_frames_per_second: 200,
        }
    }
}
