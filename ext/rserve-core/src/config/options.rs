//! What an operator may set about one server, already checked and in Rust's own types.

use std::path::PathBuf;
use std::time::Duration;

use rserve_http1::Limits;
use rserve_http1::content::codings::Coding;

use crate::config::compat::Compat;
use crate::config::network::Network;

/// Longer times count as none: deadlines are sums of these, and must not wrap.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A time as Ruby has it. A hundred years stand for any longer one, and for `Float::INFINITY`.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(FOREVER).min(FOREVER)
}

/// The PROXY protocol that a load balancer in front speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// Version 1, one line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// Paths as an operator names them. One that ends with `*` stands for all that begin so.
#[derive(Clone, Debug, Default)]
pub struct Paths(pub Vec<String>);

impl Paths {
    /// Whether `path`, as it was sent, is one of them.
    pub fn include(&self, path: &[u8]) -> bool {
        self.0.iter().any(|one| match one.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning.as_bytes()),
            None => path == one.as_bytes(),
        })
    }
}

/// Requests that are served by fibers.
#[derive(Clone, Debug)]
pub struct FiberOptions {
    /// Those for these paths; `None` is every request.
    pub routes: Option<Paths>,
    /// At most so many at a time.
    pub max: usize,
}

/// Which requests are turned away instead of waiting for a thread.
#[derive(Clone, Debug, Default)]
pub struct QueueLimits {
    /// Those that have waited for longer; `None` is no limit.
    pub time: Option<Duration>,
    /// Those that come when so many wait; `None` is no limit.
    pub length: Option<usize>,
    /// Of requests that wait for as long as it takes.
    pub exempt: Paths,
}

impl QueueLimits {
    /// Whether any request is turned away.
    pub fn are_set(&self) -> bool {
        self.time.is_some() || self.length.is_some()
    }
}

/// How long the application may have a request, from when a thread gives it to it until it gives its response.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestTimeout {
    /// After this the operator is told; `None` is never.
    pub soft: Option<Duration>,
    /// After this the client gets 504; `None` is never.
    pub hard: Option<Duration>,
}

impl RequestTimeout {
    /// Whether it makes a difference how long a request takes.
    pub fn is_set(self) -> bool {
        self.soft.is_some() || self.hard.is_some()
    }
}

/// A folder whose files the server answers with.
#[derive(Clone, Debug)]
pub struct StaticFolder {
    /// Where it is.
    pub folder: PathBuf,
    /// What the paths of its files begin with.
    pub at: String,
    /// Fields of responses with its files.
    pub fields: Vec<(String, String)>,
    /// Files with a digest in their names may be kept for ever, whatever the fields say.
    pub immutable: bool,
}

/// What the server answers by itself.
#[derive(Clone, Debug, Default)]
pub struct ContentOptions {
    /// Looked into in this order.
    pub folders: Vec<StaticFolder>,
    /// Media types beside the common ones: `.ext` and its type.
    pub media_types: Vec<(String, String)>,
    /// Folders with files that the application may have sent (`X-Sendfile`): where each is, and what the application may
    /// call it.
    pub storage: Vec<(PathBuf, Vec<String>)>,
    /// How responses of the application's are coded; `None` is not at all.
    pub compression: Option<Compression>,
}

/// See [`ContentOptions::compression`].
#[derive(Clone, Debug)]
pub struct Compression {
    /// Codings and their levels, in the order in which they are taken where a client likes several as much.
    pub codings: Vec<(Coding, u32)>,
    /// Smaller responses are sent as they are.
    pub min: u64,
    /// Nobody else knows it.
    pub key: u64,
}

/// Options of one server; `Default` is Puma 6's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that are kept even without work.
    pub min_threads: usize,
    /// Threads at most; at least 1.
    pub max_threads: usize,
    /// Threads beyond them for requests that only wait for something (Puma 8, `max_io_threads`).
    pub max_io_threads: usize,
    /// Time for a whole request head, from its first octet or from the accept, and between two reads of a body.
    pub first_data_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub persistent_timeout: Duration,
    /// How long a response may make no progress.
    pub write_timeout: Duration,
    /// The log tells of requests that the application has had for longer; `None` is never.
    pub stuck_after: Option<Duration>,
    /// See [`RequestTimeout`].
    pub request_timeout: RequestTimeout,
    /// See [`QueueLimits`].
    pub queue: QueueLimits,
    /// See [`FiberOptions`]; `None`: threads serve every request.
    pub fibers: Option<FiberOptions>,
    /// The application is called with requests for these paths when their heads are complete, and reads their bodies while
    /// they come.
    pub stream_uploads: Option<Paths>,
    /// Octets of responses that clients may leave unread, all of them together, before the slowest are cut off.
    pub unread_limit: u64,
    /// After so long without any request the server stops; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// `false`: every response closes its connection.
    pub enable_keep_alives: bool,
    /// `false`: no connection is taken while all threads are busy, and none is kept alive.
    pub queue_requests: bool,
    /// Methods that are served; `None` is any (`supported_http_methods`).
    pub methods: Option<Vec<String>>,
    /// Responses after which a connection is closed; `None` is no limit.
    pub max_keep_alive: Option<u32>,
    /// What a request may be at most.
    pub limits: Limits,
    /// Where bodies and responses too large for memory go.
    pub temp_folder: PathBuf,
    /// How long a server that stops lets connections bring another request, which is then answered with
    /// `Connection: close`: closing them at once would lose the requests that are on their way.
    pub drain_grace: Duration,
    /// Every connection may start with a PROXY header, which then says who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Peers whose PROXY header is believed; from others it is malformed HTTP. Empty is all.
    pub proxies: Vec<Network>,
    /// [`crate::server::Server::thread_suspended`] is called for every thread that lets go of the GVL in a request, and
    /// [`crate::server::Server::thread_back`] when it wants it back.
    pub suspensions_told: bool,
    /// The server goes by Puma's name, and its answers are Puma's to the letter, as Puma's own tests want them: no Date,
    /// and 400 where RFC 9110 has 414 and 431.
    pub poses_as_puma: bool,
    /// Clients may speak HTTP/2.
    pub http2: bool,
    /// Which Puma is imitated.
    pub compat: Compat,
    /// See [`ContentOptions`].
    pub content: ContentOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_threads: 0,
            max_threads: 5,
            max_io_threads: 0,
            first_data_timeout: Duration::from_secs(30),
            persistent_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(10),
            stuck_after: Some(Duration::from_secs(60)),
            request_timeout: RequestTimeout::default(),
            queue: QueueLimits::default(),
            fibers: None,
            stream_uploads: None,
            unread_limit: 256 << 20,
            idle_timeout: None,
            enable_keep_alives: true,
            queue_requests: true,
            methods: None,
            max_keep_alive: None,
            limits: Limits::default(),
            temp_folder: std::env::temp_dir(),
            drain_grace: Duration::from_millis(150),
            proxy_protocol: None,
            proxies: Vec::new(),
            suspensions_told: false,
            poses_as_puma: false,
            http2: false,
            compat: Compat::default(),
            content: ContentOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_as_it_is_or_by_its_beginning() {
        let paths = Paths(vec!["/up".into(), "/health/*".into()]);
        for (path, included) in [
            ("/up", true),
            ("/up/", false),
            ("/upload", false),
            ("/", false),
            ("/health/", true),
            ("/health/db", true),
            ("/health", false),
            ("", false),
        ] {
            assert_eq!(paths.include(path.as_bytes()), included, "{path:?}");
        }
        assert!(!Paths::default().include(b"/up"));
        assert!(Paths(vec!["*".into()]).include(b"/"));
    }

    #[test]
    fn no_time_is_too_long() {
        for (given, want) in [
            (0.25, Duration::from_millis(250)),
            (65.0, Duration::from_secs(65)),
            (-1.0, Duration::ZERO),
            (f64::NAN, Duration::ZERO),
            (1e12, FOREVER),
            (1e300, FOREVER),
            (f64::INFINITY, FOREVER),
            (f64::NEG_INFINITY, Duration::ZERO),
        ] {
            assert_eq!(seconds(given), want, "{given}");
        }
    }
}
