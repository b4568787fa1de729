//! What one server, a single process or a worker, says about itself: the one table of it. What else there is follows from
//! it: a worker's message to the master, the names that Ruby has. A row is also one in `docs/metrics.md`.

use std::sync::atomic::Ordering;

use super::Server;
use crate::config::compat::Compat;
use crate::pool::fiber_lane::FiberLane;

/// Where a figure is shown.
#[derive(Clone, Copy)]
enum Told {
    /// At this compat level and later ones.
    Since(Compat),
    /// Everybody, in a place that hangs on the level.
    BusyThreads,
    /// Those whose server has a TLS listener: no Puma has it.
    WithTls,
    /// Those whose server answers with files: neither.
    WithFiles,
    /// Those whose requests fibers serve: neither.
    WithFibers,
}

/// A server at one moment. A thread that stands back for one that computes, or for a large request, counts as busy with
/// a request of the backlog, as it would be in Puma: autoscaling by these figures sees the same load.
struct Moment<'a> {
    server: &'a Server,
    backlog: usize,
    busy: usize,
    running: usize,
}

macro_rules! figures {
    ($($(#[$doc:meta])+ $name:ident, $told:expr, $read:expr;)+) => {
        /// See the module.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct ServerStats {
            $($(#[$doc])+ pub $name: u64,)+
        }

        /// In the order in which Puma 7 and 8 tell them.
        const TABLE: &[(&str, Told)] = &[$((stringify!($name), $told)),+];

        impl ServerStats {
            /// How many there are.
            pub const COUNT: usize = TABLE.len();

            /// All figures, in the order of [`ServerStats::from_values`].
            pub fn values(&self) -> [u64; Self::COUNT] {
                [$(self.$name),+]
            }

            /// The figures whose values these are.
            pub fn from_values([$($name),+]: [u64; Self::COUNT]) -> Self {
                Self { $($name),+ }
            }

            fn read(moment: &Moment<'_>) -> Self {
                fn each<T: TryInto<u64>>(moment: &Moment<'_>, read: fn(&Moment<'_>) -> T) -> u64 {
                    read(moment).try_into().unwrap_or(u64::MAX)
                }
                Self { $($name: each(moment, $read)),+ }
            }
        }
    };
}

figures! {
    /// Requests accepted that wait for a thread.
    backlog, Told::Since(Compat::Puma6), |now| now.backlog;
    /// Threads spawned.
    running, Told::Since(Compat::Puma6), |now| now.running;
    /// Requests that could be taken at once: idle threads and threads not yet spawned.
    pool_capacity, Told::Since(Compat::Puma6), |now| now.capacity();
    /// Threads that are in the middle of a request.
    busy_threads, Told::BusyThreads, |now| now.busy;
    /// Threads set aside for requests that only wait.
    io_threads, Told::Since(Compat::Puma8), |now| now.server.shared.threads.size.io_bound();
    /// The largest `backlog` since the last reading.
    backlog_max, Told::Since(Compat::Puma7), |now| now.server.shared.backlog.most();
    /// The largest the pool may grow.
    max_threads, Told::Since(Compat::Puma6), |now| now.server.shared.threads.size.max();
    /// Requests whose app call began.
    requests_count, Told::Since(Compat::Puma6), |now| now.server.shared.figures.requests();
    /// The largest number of open connections since the last reading.
    reactor_max, Told::Since(Compat::Puma7), |now| now.server.shared.figures.connections_max();
    /// TLS handshakes that clients came through.
    tls_handshakes, Told::WithTls, |now| now.server.handshakes.finished();
    /// Those of them that went on from an earlier session.
    tls_resumed, Told::WithTls, |now| now.server.handshakes.resumed();
    /// TLS handshakes in which a client and the server did not come to terms.
    tls_failed, Told::WithTls, |now| now.server.handshakes.failed();
    /// What all TLS handshakes took, without waiting.
    tls_microseconds, Told::WithTls, |now| now.server.handshakes.cost().as_micros();
    /// Requests that the server has answered with files.
    static_requests, Told::WithFiles, |now| now.server.shared.figures.files();
    /// Requests that fibers serve at the moment.
    fibers, Told::WithFibers, |now| now.lane(FiberLane::begun);
    /// Requests that wait for a fiber.
    fiber_backlog, Told::WithFibers, |now| now.lane(FiberLane::len);
    /// How many fibers may serve at a time.
    max_fibers, Told::WithFibers, |now| now.lane(FiberLane::max);
}

impl ServerStats {
    /// What is said by a server that does not run yet.
    pub fn of_empty_pool(max_threads: u64) -> Self {
        Self { max_threads, pool_capacity: max_threads, ..Self::default() }
    }

    /// The figures as they stand in a worker's place of the telemetry.
    pub fn of_figures(figures: &[u64]) -> Self {
        Self::from_values(std::array::from_fn(|at| figures.get(at).copied().unwrap_or(0)))
    }

    /// Each figure under its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TABLE.iter().map(|(name, _)| *name).zip(self.values())
    }

    /// The figures that such a server shows, in this order.
    pub fn names(compat: Compat, tls: bool, files: bool, fibers: bool) -> Vec<&'static str> {
        let place = |told: Told| match told {
            Told::Since(first) => compat.follows(first).then_some(0),
            Told::BusyThreads => Some(u8::from(compat.tells_busy_threads_last())),
            Told::WithTls => tls.then_some(2),
            Told::WithFiles => files.then_some(3),
            Told::WithFibers => fibers.then_some(4),
        };
        let mut names: Vec<_> =
            TABLE.iter().filter_map(|(name, told)| Some((place(*told)?, *name))).collect();
        names.sort_by_key(|(place, _)| *place);
        names.into_iter().map(|(_, name)| name).collect()
    }
}

impl Moment<'_> {
    fn lane(&self, read: fn(&FiberLane) -> usize) -> usize {
        self.server.shared.fiber_lane.as_ref().map_or(0, read)
    }

    fn capacity(&self) -> usize {
        let idle = self.running.saturating_sub(self.busy);
        idle + self.server.shared.threads.size.limit().saturating_sub(self.running)
    }
}

impl Server {
    /// The figures at this moment, as a reading: what counts "since the last reading" starts anew.
    pub fn take_stats(&self) -> ServerStats {
        let stats = self.stats();
        self.shared.backlog.forget_most();
        self.shared.figures.forget_connections_max();
        stats
    }

    /// The figures at this moment.
    pub fn stats(&self) -> ServerStats {
        let shared = &self.shared;
        let running = shared.threads.spawned.load(Ordering::Acquire);
        let serving = shared.threads.busy();
        let kept = shared.backlog.kept();
        let waiting = shared.backlog.len() + kept;
        let idle = running.saturating_sub(serving);
        let standing_back = if shared.options.suspensions_told { waiting.min(idle) } else { kept.min(idle) };
        ServerStats::read(&Moment {
            server: self,
            backlog: waiting - standing_back,
            busy: serving + standing_back,
            running,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_its_pumas_names_in_their_order_and_tls_comes_last() {
        let six = ["backlog", "running", "pool_capacity", "max_threads", "requests_count", "busy_threads"];
        assert_eq!(ServerStats::names(Compat::Puma6, false, false, false), six);
        let eight = ServerStats::names(Compat::Puma8, false, false, false);
        let seven = ServerStats::names(Compat::Puma7, false, false, false);
        assert_eq!(seven, eight.iter().copied().filter(|name| *name != "io_threads").collect::<Vec<_>>());
        for (level, pumas) in [(Compat::Puma6, six.to_vec()), (Compat::Puma7, seven), (Compat::Puma8, eight)]
        {
            let all = ServerStats::names(level, true, false, false);
            assert_eq!(all[..pumas.len()], pumas);
            assert!(all[pumas.len()..].iter().all(|name| name.starts_with("tls_")), "{all:?}");
        }
        let all = ServerStats::names(Compat::Puma8, true, true, true);
        assert_eq!((all.len(), all.last()), (ServerStats::COUNT, Some(&"max_fibers")));
    }

    #[test]
    fn values_keep_their_names() {
        let values = std::array::from_fn(|place| place as u64);
        let stats = ServerStats::from_values(values);
        assert_eq!(stats.values(), values);
        assert_eq!(stats.named().find(|(name, _)| *name == "running"), Some(("running", stats.running)));
    }
}
