use std::collections::HashSet;

use rserve_http1::Version;

use super::*;
use crate::cluster::{Index, Phase, PlaceId};
use crate::server::ServerStats;
use crate::telemetry::{ConnectionState, Labels, Part, Shed, ThreadState, WorkerState};

/// A cluster of one worker that serves and one that boots.
fn telemetry() -> Telemetry {
    let telemetry = Telemetry::new().unwrap();
    telemetry.server().begin(true, true);
    telemetry.prepare(PlaceId(1), Index(1), Phase(1));
    telemetry.prepare(PlaceId(0), Index(0), Phase(0));
    let worker = telemetry.worker(PlaceId(0)).unwrap();
    worker.enter(WorkerState::Ready);
    let stats =
        ServerStats { backlog: 3, running: 5, tls_handshakes: 7, tls_resumed: 2, ..ServerStats::default() };
    worker.show(|| stats.values(), |_| (false, false));
    worker.connection(None, Some(ConnectionState::Serving));
    worker.shed(Shed::QueueFull);
    worker.part(Part::Queue, 1_500_000);
    for (method, status, nanoseconds) in
        [("GET", 200, 4_000_000), ("GET", 200, 60_000_000), ("BREW", 0, 2_000_000_000)]
    {
        let mut labels = Labels::new(method.as_bytes(), false, Version::Http11);
        labels.answered(status);
        worker.request(labels, nanoseconds);
    }
    telemetry
}

fn written(format: Format) -> String {
    let snapshot = telemetry().read();
    text(&Readings { snapshot: &snapshot, memory: &[(0, MemoryUse { rss: 2048, pss: 1024 })] }, format)
}

#[test]
fn prometheus_reads_values_by_name_and_labels() {
    let text = written(Format::Text);
    for line in [
        "# HELP puma_workers Worker processes that exist.",
        "# TYPE puma_requests_count untyped",
        "puma_workers 2",
        "puma_booted_workers 1",
        "puma_old_workers 1",
        "puma_backlog{index=\"0\"} 3",
        "puma_running{index=\"0\"} 5",
        "http_server_active_requests 1",
        "rserve_worker_memory_bytes{index=\"0\",kind=\"pss\"} 1024",
        "# TYPE rserve_requests_shed_total counter",
        "rserve_requests_shed_total{reason=\"queue_full\"} 1",
        "rserve_tls_handshakes_total{result=\"full\"} 5",
        "rserve_connections{state=\"serving\"} 1",
        "rserve_request_queue_duration_seconds_bucket{le=\"0.001\"} 0",
        "rserve_request_queue_duration_seconds_bucket{le=\"0.0025\"} 1",
        "rserve_request_queue_duration_seconds_sum 0.0015",
        "rserve_request_gvl_wait_seconds_count 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in:\n{text}");
    }
    let labels = "http_request_method=\"GET\",http_response_status_code=\"200\",url_scheme=\"http\",\
                  network_protocol_version=\"1.1\"";
    for (suffix, value) in [
        (format!("bucket{{{labels},le=\"0.005\"}}"), "1"),
        (format!("bucket{{{labels},le=\"0.075\"}}"), "2"),
        (format!("bucket{{{labels},le=\"1\"}}"), "2"),
        (format!("bucket{{{labels},le=\"+Inf\"}}"), "2"),
        (format!("sum{{{labels}}}"), "0.064"),
        (format!("count{{{labels}}}"), "2"),
    ] {
        let line = format!("http_server_request_duration_seconds_{suffix} {value}");
        assert!(text.lines().any(|it| it == line), "{line} is not in:\n{text}");
    }
    assert!(text.contains("{http_request_method=\"_OTHER\",http_response_status_code=\"\","), "{text}");
    assert!(!text.contains("index=\"1\""), "it serves nothing yet:\n{text}");
}

#[test]
fn openmetrics_says_units_and_the_end() {
    let text = written(Format::OpenMetrics);
    for line in [
        "# TYPE puma_requests_count unknown",
        "# TYPE rserve_requests_shed counter",
        "rserve_requests_shed_total{reason=\"queue_full\"} 1",
        "# UNIT rserve_worker_memory_bytes bytes",
        "# UNIT rserve_request_queue_duration_seconds seconds",
        "rserve_request_queue_duration_seconds_bucket{le=\"1.0\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn a_metric_is_written_once_with_all_that_is_said_of_it() {
    for format in [Format::Text, Format::OpenMetrics] {
        let text = written(format);
        let of =
            |word: &str| -> Vec<&str> { text.lines().filter_map(|line| line.strip_prefix(word)).collect() };
        assert_eq!(of("# HELP ").len(), TABLE.len());
        let types: HashSet<_> = of("# TYPE ").into_iter().collect();
        assert_eq!(types.len(), TABLE.len());
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let series: HashSet<_> =
            samples.iter().filter_map(|line| line.rsplit_once(' ')).map(|it| it.0).collect();
        assert_eq!(series.len(), samples.len(), "{text}");
    }
}

#[test]
fn what_ruby_does_not_tell_is_not_there() {
    let telemetry = telemetry();
    telemetry.server().begin(false, false);
    let snapshot = telemetry.read();
    let text = text(&Readings { snapshot: &snapshot, memory: &[] }, Format::Text);
    for name in ["puma_workers", "rserve_request_gvl_wait_seconds", "rserve_request_running_seconds"] {
        assert!(!text.contains(name), "{name}:\n{text}");
    }
}

#[test]
fn the_client_says_which_format_it_reads() {
    use Format::{OpenMetrics, Text};
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, want) in [
        ("", Text),
        ("*/*", Text),
        ("text/html, */*;q=0.8", Text),
        (prometheus, OpenMetrics),
        ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Charset=utf-8", OpenMetrics),
        ("application/openmetrics-text", OpenMetrics),
        ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", Text),
        ("application/openmetrics-text;q=0.4,text/plain", Text),
        ("application/openmetrics-text;q=0", Text),
        ("application/openmetrics-text;q=x", Text),
        ("\u{ff}", Text),
    ] {
        assert_eq!(Format::accepted(accept.as_bytes()), want, "{accept}");
    }
}

#[test]
fn threads_are_told_with_what_they_serve() {
    let telemetry = telemetry();
    assert_eq!(
        threads(&telemetry.read()),
        "{\"workers\":[{\"worker\":0,\"pid\":PID,\"state\":\"ready\",\"running_seconds\":0.000000,\
         \"gvl_wait_seconds\":0.000000,\"io_wait_seconds\":0.000000},{\"worker\":1,\"pid\":0,\"state\":\"booting\",\
         \"running_seconds\":0.000000,\"gvl_wait_seconds\":0.000000,\"io_wait_seconds\":0.000000}],\"threads\":[]}"
            .replace("PID", &std::process::id().to_string())
    );
    let worker = telemetry.worker(PlaceId(0)).unwrap();
    let (_idle, busy) = (worker.seat().unwrap(), worker.seat().unwrap());
    busy.begin(b"GET", b"/\"\\\x01\xff\xc3\xa9", std::time::Instant::now());
    busy.change(ThreadState::Io);
    let json = threads(&telemetry.read());
    for part in [
        "\"thread\":2,\"state\":\"io\",\"method\":\"GET\",\"path\":\"/\\\"",
        "\"thread\":1,\"state\":\"idle\",\"requests_served\":0}",
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
    assert!(json.find("\"thread\":2") < json.find("\"thread\":1,"), "{json}");
}

#[test]
fn the_document_has_every_metric_and_no_other() {
    let document = include_str!("../../../../docs/metrics.md");
    let (_, part) = document.split_once("## For Prometheus").expect("the part");
    let (_, rows) = part.split_once("|---|---|---|---|\n").expect("the table");
    let rows: Vec<_> = rows.lines().take_while(|line| line.starts_with('|')).collect();
    let wanted = TABLE.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Unknown => "untyped",
        };
        let labels = if labels.is_empty() { String::new() } else { format!("{} ", labels.join(", ")) };
        format!("| `{}` | {kind} | {labels}| {} |", metric.sample(), metric.help)
    });
    assert_eq!(rows, wanted.collect::<Vec<_>>());
    let kinds = [
        Shed::ALL.iter().map(|kind| kind.label()).collect::<Vec<_>>(),
        ConnectionState::ALL.iter().map(|kind| kind.label()).collect(),
        crate::telemetry::WorkerExit::ALL.iter().map(|kind| kind.label()).collect(),
        crate::telemetry::RestartResult::ALL.iter().map(|kind| kind.label()).collect(),
        crate::telemetry::Timeout::ALL.iter().map(|kind| kind.label()).collect(),
        ThreadState::ALL.iter().map(|kind| kind.label()).collect(),
    ];
    for value in kinds.into_iter().flatten() {
        assert!(part.contains(&format!("`{value}`")), "`{value}`");
    }
}
