//! The table of metrics: names, kinds, labels, what each is, and where its values come from. A row is also one of
//! `docs/metrics.md`, which a test compares.

use super::Readings;
use super::format::Text;
use crate::server::ServerStats;
use crate::telemetry::{
    ConnectionState, Histogram, OF_PARTS, OF_REQUESTS, Part, RestartResult, Shed, Timeout, WorkerExit,
    WorkerSnapshot, WorkerState,
};

/// What Prometheus makes of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It goes up, but for restarts of the server.
    Counter,
    /// Durations by buckets.
    Histogram,
    /// One whose name, which is older than the conventions, would be another kind's.
    Unknown,
}

/// A row of the table.
pub struct Metric {
    /// Of a counter without the `_total` at its end.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it is, in a line.
    pub help: &'static str,
    values: Values,
}

type Figure = fn(&ServerStats) -> u64;

/// Where values come from.
enum Values {
    /// One of the whole server; `None` where there is no such thing.
    Whole(fn(&Readings<'_>) -> Option<u64>),
    /// One of each worker that serves.
    OfWorkers(Figure),
    /// One for each kind of something, all workers together.
    OfKinds(fn(&Readings<'_>) -> Vec<(&'static str, u64)>),
    /// Memory.
    OfMemory,
    /// Whole requests by their labels.
    OfRequests,
    /// A part of all requests; `true` if it is known only where Ruby tells of its threads.
    OfPart(Part, bool),
}

const INDEX: &[&str] = &["index"];

const fn gauge(name: &'static str, help: &'static str, values: Values) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], help, values }
}

const fn of_worker(name: &'static str, help: &'static str, figure: Figure) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: INDEX, help, values: Values::OfWorkers(figure) }
}

const fn of_part(name: &'static str, help: &'static str, part: Part, told: bool) -> Metric {
    Metric { name, kind: Kind::Histogram, labels: &[], help, values: Values::OfPart(part, told) }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Readings<'_>) -> Vec<(&'static str, u64)>,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, values: Values::OfKinds(values) }
}

/// See the module.
pub const TABLE: &[Metric] = &[
    gauge("puma_workers", "Worker processes that exist.", Values::Whole(|now| workers(now, |_| true))),
    gauge(
        "puma_booted_workers",
        "Worker processes that serve.",
        Values::Whole(|now| workers(now, |worker| worker.state == WorkerState::Ready)),
    ),
    gauge(
        "puma_old_workers",
        "Worker processes of an earlier phase, in a phased restart.",
        Values::Whole(|now| workers(now, |worker| worker.phase != now.snapshot.server.worker_phase)),
    ),
    of_worker("puma_backlog", "Complete requests that wait for a thread.", |stats| stats.backlog),
    of_worker("puma_running", "Threads of the pool that exist.", |stats| stats.running),
    of_worker("puma_pool_capacity", "Requests that could begin at once.", |stats| stats.pool_capacity),
    of_worker("puma_max_threads", "Threads that the pool may have.", |stats| stats.max_threads),
    of_worker("puma_busy_threads", "Threads that have a request.", |stats| stats.busy_threads),
    Metric {
        kind: Kind::Unknown,
        ..of_worker(
            "puma_requests_count",
            "Requests given to the application since the process began to serve.",
            |stats| stats.requests_count,
        )
    },
    Metric {
        name: "http_server_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &[
            "http_request_method",
            "http_response_status_code",
            "url_scheme",
            "network_protocol_version",
        ],
        help: "Time from the end of a request's head until its response was sent or given up.",
        values: Values::OfRequests,
    },
    gauge(
        "http_server_active_requests",
        "Complete requests that wait for a thread or have one.",
        Values::Whole(|now| Some(connections(now, ConnectionState::Serving))),
    ),
    of_part(
        "rserve_request_queue_duration_seconds",
        "Time from when a request was complete until a thread began it.",
        Part::Queue,
        false,
    ),
    of_part(
        "rserve_request_upstream_duration_seconds",
        "Time from X-Request-Start until a request's head was complete.",
        Part::Upstream,
        false,
    ),
    of_part(
        "rserve_request_gvl_wait_seconds",
        "Time that a request's thread waited for Ruby's global lock.",
        Part::GvlWait,
        true,
    ),
    of_part(
        "rserve_request_io_wait_seconds",
        "Time that a request's thread waited for anything else.",
        Part::IoWait,
        true,
    ),
    of_part("rserve_request_running_seconds", "Time that a request's thread ran.", Part::Running, true),
    of_part(
        "rserve_gc_out_of_band_seconds",
        "Time of a full collection of garbage between requests (gc :out_of_band).",
        Part::Collection,
        false,
    ),
    counter(
        "rserve_requests_shed",
        &["reason"],
        "Complete requests that were not given to the application.",
        |now| summed(now, Shed::ALL, Shed::label, |worker| &worker.shed),
    ),
    counter(
        "rserve_request_timeouts",
        &["limit"],
        "Requests that passed a limit of request_timeout.",
        |now| summed(now, Timeout::ALL, Timeout::label, |worker| &worker.timeouts),
    ),
    Metric {
        name: "rserve_worker_memory_bytes",
        kind: Kind::Gauge,
        labels: &["index", "kind"],
        help: "Memory of a worker: pss with its share of what it shares with others, rss with all of that.",
        values: Values::OfMemory,
    },
    counter("rserve_worker_exits", &["reason"], "Workers that ended.", |now| {
        labelled(WorkerExit::ALL, WorkerExit::label, &now.snapshot.server.exits)
    }),
    Metric {
        name: "rserve_connections",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Open connections of clients.",
        values: Values::OfKinds(|now| {
            ConnectionState::ALL.iter().map(|state| (state.label(), connections(now, *state))).collect()
        }),
    },
    gauge(
        "rserve_generation",
        "Number of the generation that serves (overlap_restart), or 0.",
        Values::Whole(|now| Some(now.snapshot.server.generation)),
    ),
    counter("rserve_restarts", &["result"], "Restarts that are over.", |now| {
        labelled(RestartResult::ALL, RestartResult::label, &now.snapshot.server.restarts)
    }),
    of_worker("rserve_fibers", "Requests that fibers serve.", |stats| stats.fibers),
    of_worker("rserve_fiber_backlog", "Complete requests that wait for a fiber.", |stats| {
        stats.fiber_backlog
    }),
    Metric {
        name: "rserve_static_requests",
        kind: Kind::Counter,
        labels: &[],
        help: "Requests that the server answered with files.",
        values: Values::Whole(|now| Some(all(now, |it| it.static_requests))),
    },
    counter("rserve_tls_handshakes", &["result"], "TLS handshakes.", |now| {
        let (finished, resumed) = (all(now, |it| it.tls_handshakes), all(now, |it| it.tls_resumed));
        let failed = all(now, |it| it.tls_failed);
        vec![("full", finished.saturating_sub(resumed)), ("resumed", resumed), ("failed", failed)]
    }),
];

/// What all workers together have counted, those that are gone included.
fn all(now: &Readings<'_>, figure: Figure) -> u64 {
    let of = |figures: &[u64]| figure(&ServerStats::of_figures(figures));
    now.snapshot.workers.iter().map(|worker| of(&worker.figures) + of(&worker.carried)).sum()
}

impl Metric {
    /// The name of its values: [`Metric::name`], but for counters.
    pub fn sample(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{suffix}", self.name)
    }

    /// The unit at the end of its name.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(&format!("_{unit}")))
    }

    /// Writes it, unless there is no such thing here.
    pub(super) fn write(&self, now: &Readings<'_>, text: &mut Text) {
        match &self.values {
            Values::Whole(value) => {
                if let Some(value) = value(now) {
                    text.begin(self);
                    text.value(&self.sample(), &[], value);
                }
            }
            Values::OfWorkers(figure) => {
                text.begin(self);
                for worker in now.snapshot.by_index().filter(|worker| worker.state != WorkerState::Booting) {
                    let value = figure(&ServerStats::of_figures(&worker.figures));
                    text.value(&self.sample(), &[("index", &worker.index.to_string())], value);
                }
            }
            Values::OfKinds(values) => {
                text.begin(self);
                for (label, value) in values(now) {
                    text.value(&self.sample(), &[(self.labels[0], label)], value);
                }
            }
            Values::OfMemory => {
                text.begin(self);
                for (index, memory) in now.memory {
                    for (kind, octets) in [("pss", memory.pss), ("rss", memory.rss)] {
                        text.value(&self.sample(), &[("index", &index.to_string()), ("kind", kind)], octets);
                    }
                }
            }
            Values::OfRequests => {
                text.begin(self);
                self.write_requests(now, text);
            }
            Values::OfPart(part, told) => {
                if *told && !now.snapshot.server.threads_told {
                    return;
                }
                let mut all = Histogram::default();
                now.snapshot.workers.iter().for_each(|worker| all.add(&worker.parts[*part as usize]));
                text.begin(self);
                text.histogram(&self.sample(), &[], &all, &OF_PARTS);
            }
        }
    }

    fn write_requests(&self, now: &Readings<'_>, text: &mut Text) {
        let mut all = std::collections::BTreeMap::<_, Histogram>::new();
        for (labels, histogram) in now.snapshot.workers.iter().flat_map(|worker| &worker.requests) {
            all.entry(*labels).or_default().add(histogram);
        }
        for (labels, histogram) in all {
            let status = labels.status().map(|status| status.to_string()).unwrap_or_default();
            let values = [labels.method(), &status, labels.scheme(), labels.version()];
            let pairs: Vec<_> = self.labels.iter().copied().zip(values).collect();
            text.histogram(&self.sample(), &pairs, &histogram, &OF_REQUESTS);
        }
    }
}

/// Workers of a cluster that are so; in single mode Puma has no such figures.
fn workers(now: &Readings<'_>, are_so: impl Fn(&WorkerSnapshot) -> bool) -> Option<u64> {
    let snapshot = now.snapshot;
    snapshot.server.cluster.then(|| snapshot.by_index().filter(|worker| are_so(worker)).count() as u64)
}

fn connections(now: &Readings<'_>, state: ConnectionState) -> u64 {
    now.snapshot.present().map(|worker| worker.connections[state as usize]).sum()
}

fn labelled<K: Copy>(kinds: &[K], label: fn(K) -> &'static str, counts: &[u64]) -> Vec<(&'static str, u64)> {
    kinds.iter().map(|kind| label(*kind)).zip(counts.iter().copied()).collect()
}

/// The same counts of all workers that there ever were.
fn summed<K: Copy, const N: usize>(
    now: &Readings<'_>,
    kinds: &[K],
    label: fn(K) -> &'static str,
    counts: fn(&WorkerSnapshot) -> &[u64; N],
) -> Vec<(&'static str, u64)> {
    let mut all = [0; N];
    for worker in &now.snapshot.workers {
        all.iter_mut().zip(counts(worker)).for_each(|(sum, count)| *sum += count);
    }
    labelled(kinds, label, &all)
}
