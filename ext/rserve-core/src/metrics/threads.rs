//! What every thread does, as JSON.

use std::fmt::Write;

use crate::observe::line::Octets;
use crate::telemetry::{Part, Snapshot, Spent, ThreadState, WorkerSnapshot};

/// `{"workers": [...], "threads": [...]}`: of each worker how its threads have spent their time on all requests that are
/// over, of each thread its request, if it has one. The longest is first.
pub fn threads(snapshot: &Snapshot) -> String {
    let mut all: Vec<_> = snapshot
        .present()
        .flat_map(|worker| worker.threads.iter().map(move |thread| (worker, thread)))
        .collect();
    all.sort_by_key(|(_, thread)| {
        std::cmp::Reverse(thread.request.as_ref().map_or(0, |request| request.age))
    });
    let workers: Vec<_> = snapshot.present().map(|worker| of_worker(worker, snapshot)).collect();
    let threads: Vec<_> = all
        .into_iter()
        .map(|(worker, thread)| {
            let mut object = Object::new();
            object.number("worker", worker.index);
            object.number("pid", worker.pid.unwrap_or(0));
            object.number("thread", thread.seat + 1);
            match &thread.request {
                None => object.string("state", ThreadState::Idle.label()),
                Some(request) => {
                    object.string("state", request.state.label());
                    object.string("method", Octets(&request.method));
                    object.string("path", Octets(&request.path));
                    object.seconds("seconds", request.age);
                    if snapshot.server.threads_told {
                        object.spent(request.spent);
                    }
                }
            }
            object.number("requests_served", thread.served);
            object.end()
        })
        .collect();
    format!("{{\"workers\":[{}],\"threads\":[{}]}}", workers.join(","), threads.join(","))
}

fn of_worker(worker: &WorkerSnapshot, snapshot: &Snapshot) -> String {
    let mut object = Object::new();
    object.number("worker", worker.index);
    object.number("pid", worker.pid.unwrap_or(0));
    object.string("state", worker.state.label());
    if snapshot.server.threads_told {
        let all = |part: Part| worker.parts[part as usize].nanoseconds;
        object.spent(Spent { running: all(Part::Running), gvl: all(Part::GvlWait), io: all(Part::IoWait) });
    }
    object.end()
}

/// An object of JSON that is being written (RFC 8259).
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn name(&mut self, name: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // A String takes whatever is written.
        let _ = write!(self.0, "{comma}\"{name}\":");
    }

    fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.0, "{number}");
    }

    fn seconds(&mut self, name: &str, nanoseconds: u64) {
        self.number(name, format_args!("{:.6}", nanoseconds as f64 / 1e9));
    }

    fn spent(&mut self, spent: Spent) {
        self.seconds("running_seconds", spent.running);
        self.seconds("gvl_wait_seconds", spent.gvl);
        self.seconds("io_wait_seconds", spent.io);
    }

    fn string(&mut self, name: &str, text: impl std::fmt::Display) {
        self.name(name);
        self.0.push('"');
        for character in text.to_string().chars() {
            match character {
                '"' | '\\' => self.0.extend(['\\', character]),
                control if control < ' ' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(control));
                }
                other => self.0.push(other),
            }
        }
        self.0.push('"');
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
