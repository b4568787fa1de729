//! `/status`: what the server is and how its workers are, as JSON. The names are those of the control server's `stats`
//! where that has the same.

use std::fmt::Write;
use std::time::Duration;

use super::settings::Settings;
use super::verdict;
use crate::server::ServerStats;
use crate::telemetry::{ServerPhase, Snapshot, WorkerSnapshot, WorkerState};

/// The document; `wall` is the time since 1970 at which `snapshot` was taken.
pub(super) fn json(snapshot: &Snapshot, settings: &Settings, wall: Duration) -> String {
    let server = &snapshot.server;
    let at = |then: u64| Moment { ago: snapshot.at.saturating_sub(then), known: then > 0, wall };
    let mut out = String::with_capacity(1024);
    let started = at(server.started_at);
    out.push_str("{\"identity\":");
    string(&mut out, &settings.identity);
    out.push_str(",\"versions\":{");
    for (index, (program, version)) in settings.versions.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        string(&mut out, program);
        out.push(':');
        string(&mut out, version);
    }
    out.push('}');
    number(&mut out, "pid", server.pid);
    let _ = write!(out, ",\"mode\":\"{}\"", if server.cluster { "cluster" } else { "single" });
    let state = server.phase.unwrap_or(ServerPhase::Booting);
    let _ = write!(out, ",\"state\":\"{}\"", state.label());
    let ready = verdict::unready(snapshot, settings.ready_saturation).map_or("ok", verdict::Unready::label);
    let _ = write!(out, ",\"ready\":\"{ready}\",\"started_at\":{}", started.time());
    let _ = write!(out, ",\"uptime\":{}", started.seconds());
    let mut workers: Vec<_> = snapshot.present().collect();
    workers.sort_by_key(|worker| (worker.index, worker.place));
    if server.cluster {
        let booted = workers.iter().filter(|worker| is_booted(worker)).count();
        let old = workers.iter().filter(|worker| worker.phase != server.worker_phase).count();
        let _ = write!(out, ",\"phase\":{},\"generation\":{}", server.worker_phase, server.generation);
        let _ = write!(out, ",\"workers\":{},\"booted_workers\":{booted}", workers.len());
        let _ = write!(out, ",\"old_workers\":{old}");
    }
    out.push_str(",\"worker_status\":[");
    for (index, worker) in workers.iter().enumerate() {
        let (started, reported) = (at(worker.started_at), at(worker.heartbeat));
        let _ = write!(out, "{}{{\"index\":{}", if index > 0 { "," } else { "" }, worker.index);
        number(&mut out, "pid", worker.pid);
        let _ = write!(out, ",\"phase\":{},\"booted\":{}", worker.phase, is_booted(worker));
        let _ = write!(out, ",\"state\":\"{}\",\"started_at\":{}", worker.state.label(), started.time());
        let _ = write!(out, ",\"uptime\":{},\"last_checkin\":{}", started.seconds(), reported.time());
        out.push_str(",\"last_status\":{");
        for (index, (name, value)) in figures(worker).named().enumerate() {
            let _ = write!(out, "{}\"{name}\":{value}", if index > 0 { "," } else { "" });
        }
        out.push_str("}}");
    }
    out.push_str("]}\n");
    out
}

fn is_booted(worker: &WorkerSnapshot) -> bool {
    matches!(worker.state, WorkerState::Ready | WorkerState::Stopping)
}

fn figures(worker: &WorkerSnapshot) -> ServerStats {
    ServerStats::from_values(std::array::from_fn(|index| worker.figures[index]))
}

fn number(out: &mut String, name: &str, value: Option<u32>) {
    let _ = match value {
        Some(value) => write!(out, ",\"{name}\":{value}"),
        None => write!(out, ",\"{name}\":null"),
    };
}

/// Some milliseconds ago.
struct Moment {
    ago: u64,
    known: bool,
    wall: Duration,
}

impl Moment {
    /// As in the control server's statistics, `"2026-11-26T10:00:00Z"`, or `null`.
    fn time(&self) -> String {
        if !self.known {
            return "null".into();
        }
        let seconds = self.wall.saturating_sub(Duration::from_millis(self.ago)).as_secs();
        let (year, month, day) = rserve_http1::civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("\"{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z\"", month + 1)
    }

    fn seconds(&self) -> String {
        if self.known { format!("{:.1}", self.ago as f64 / 1000.0) } else { "null".into() }
    }
}

/// `text` as a string of JSON (RFC 8259 §7).
fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
