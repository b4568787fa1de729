//! What is counted and told by kinds: each list is also the values of a label, or of a field of JSON.

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident { $($(#[$about:meta])+ $kind:ident = $label:literal,)+ })+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Copy, Debug, Eq, PartialEq)]
            #[repr(u8)]
            pub enum $name { $($(#[$about])+ $kind),+ }

            impl $name {
                /// All of them, in order.
                pub const ALL: &[Self] = &[$(Self::$kind),+];

                /// How many there are.
                pub const COUNT: usize = Self::ALL.len();

                /// Its name for operators.
                pub fn label(self) -> &'static str {
                    match self { $(Self::$kind => $label),+ }
                }

                #[allow(dead_code, reason = "not every kind is kept as a word")]
                pub(super) fn of_word(word: u64) -> Self {
                    let at = usize::try_from(word).unwrap_or(0);
                    Self::ALL.get(at).copied().unwrap_or(Self::ALL[0])
                }
            }
        )+
    };
}

kinds! {
    /// Where the whole of a server is in its life.
    ServerPhase {
        /// The application is being loaded, or no worker serves yet.
        Booting = "booting",
        /// It serves.
        Running = "running",
        /// It was told to stop, and still takes requests (`shutdown_delay`).
        Draining = "draining",
        /// It answers what it has accepted, and takes nothing more.
        Stopping = "stopping",
    }

    /// Where a worker is in its life.
    WorkerState {
        /// There is none at this index.
        Vacant = "vacant",
        /// It was asked for, or loads the application.
        Booting = "booting",
        /// It serves.
        Ready = "ready",
        /// It was told to go, or goes.
        Stopping = "stopping",
    }

    /// What a client's connection is in the middle of.
    ConnectionState {
        /// Nothing: it waits for a request.
        Idle = "idle",
        /// A request that is not complete.
        Reading = "reading",
        /// A complete request, which waits for a thread or has one.
        Serving = "serving",
        /// A response that the client has not taken all of.
        Writing = "writing",
        /// The end: what a client still sends that was refused.
        Lingering = "lingering",
    }

    /// What is measured besides whole requests.
    Part {
        /// From when it was complete until a thread began it.
        Queue = "queue",
        /// From when somebody in front of the server had it (`X-Request-Start`) until its head was complete.
        Upstream = "upstream",
        /// Its thread waited for the GVL.
        GvlWait = "gvl_wait",
        /// Its thread waited for something else.
        IoWait = "io_wait",
        /// Its thread ran.
        Running = "running",
        /// None of a request's: a full collection of garbage between them.
        Collection = "collection",
    }

    /// Why a complete request was not given to the application.
    Shed {
        /// It had waited for longer than `queue_time_limit`.
        QueueTime = "queue_time",
        /// `queue_limit` requests were waiting.
        QueueFull = "queue_full",
        /// Its client had gone.
        ClientGone = "client_gone",
    }

    /// Which limit of `request_timeout` a request has passed.
    Timeout {
        /// The log was told.
        Soft = "soft",
        /// The client was answered 504.
        Hard = "hard",
    }

    /// Why a worker has ended.
    WorkerExit {
        /// It was told to stop, or to make room for another one.
        Told = "told",
        /// By itself, with a status that is not 0 or not before it was told.
        Failed = "failed",
        /// By a signal that the master did not send.
        Signal = "signal",
        /// The master has killed it: it did not boot, report or stop in time.
        Timeout = "timeout",
        /// `worker_max_memory`.
        MaxMemory = "max_memory",
        /// `max_requests`.
        MaxRequests = "max_requests",
        /// `worker_lifetime`.
        Lifetime = "lifetime",
        /// A request had passed the hard limit of `request_timeout`.
        RequestTimeout = "request_timeout",
    }

    /// What became of a restart.
    RestartResult {
        /// All workers are of the new generation or phase.
        Completed = "completed",
        /// It was given up: the new generation could not be started, or did not boot.
        FailedBoot = "failed_boot",
        /// … or was not ready in time (`restart_ready`).
        FailedReady = "failed_ready",
        /// … or lost a worker, or its master, before it served anybody (`restart_settle`).
        FailedSettle = "failed_settle",
        /// … or did so while it took over.
        FailedTakeover = "failed_takeover",
    }

    /// What a thread of the pool does.
    ThreadState {
        /// It waits for a request.
        Idle = "idle",
        /// It has a request, and the GVL where Ruby tells (3.3 and later).
        Running = "running",
        /// It has a request and waits for the GVL.
        Gvl = "gvl",
        /// It has a request and waits for something else: a socket, a file, a lock, a sleep.
        Io = "io",
    }
}
