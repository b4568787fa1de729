//! What a server says about itself, and a worker's ping to the master.

/// What one server (a single process or a worker) says about itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerStats {
    /// Requests accepted that wait for a thread.
    pub backlog: u64,
    /// The largest `backlog` since the last reading.
    pub backlog_max: u64,
    /// Threads that are in the middle of a request.
    pub busy_threads: u64,
    /// Threads set aside for requests that only wait (Puma 8).
    pub io_threads: u64,
    /// The largest the pool may grow.
    pub max_threads: u64,
    /// Requests that could be taken at once: idle threads and threads not yet spawned.
    pub pool_capacity: u64,
    /// The largest number of open connections since the last reading.
    pub reactor_max: u64,
    /// Requests whose app call began.
    pub requests_count: u64,
    /// Threads spawned.
    pub running: u64,
    /// TLS handshakes in which a client and the server did not come to terms.
    pub tls_failed: u64,
    /// TLS handshakes that clients came through.
    pub tls_handshakes: u64,
    /// What all TLS handshakes took, without waiting.
    pub tls_microseconds: u64,
    /// Those of `tls_handshakes` that went on from an earlier session.
    pub tls_resumed: u64,
}
