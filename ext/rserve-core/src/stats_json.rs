//! The statistics of a server, and the JSON that `pumactl stats` prints.
//!
//! Keys, their order and the missing white space are Puma's: monitoring gems
//! match the text. It is written by hand so that a pruned master needs no JSON.

use std::fmt::Write;
use std::time::{Instant, SystemTime};

use crate::cluster::{Supervisor, WorkerHandle};
use crate::options::Compat;

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
    /// The largest number of connections waited for since the last reading.
    pub reactor_max: u64,
    /// Requests whose app call began.
    pub requests_count: u64,
    /// Threads spawned.
    pub running: u64,
}

impl ServerStats {
    /// Keys and values in the order of `compat`'s Puma; level 6 is that of 6.6.
    pub fn entries(&self, compat: Compat) -> Vec<(&'static str, u64)> {
        let backlog = ("backlog", self.backlog);
        let backlog_max = ("backlog_max", self.backlog_max);
        let busy_threads = ("busy_threads", self.busy_threads);
        let io_threads = ("io_threads", self.io_threads);
        let max_threads = ("max_threads", self.max_threads);
        let pool_capacity = ("pool_capacity", self.pool_capacity);
        let reactor_max = ("reactor_max", self.reactor_max);
        let requests_count = ("requests_count", self.requests_count);
        let running = ("running", self.running);
        match compat {
            Compat::Puma6 => vec![backlog, running, pool_capacity, max_threads, requests_count, busy_threads],
            Compat::Puma7 => vec![
                backlog,
                running,
                pool_capacity,
                busy_threads,
                backlog_max,
                max_threads,
                requests_count,
                reactor_max,
            ],
            Compat::Puma8 => vec![
                backlog,
                running,
                pool_capacity,
                busy_threads,
                io_threads,
                backlog_max,
                max_threads,
                requests_count,
                reactor_max,
            ],
        }
    }
}

/// The `versions` part of the statistics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Versions {
    /// The version string that gems compare with Puma's.
    pub puma: String,
    /// `RUBY_ENGINE`.
    pub ruby_engine: String,
    /// `RUBY_VERSION`.
    pub ruby_version: String,
    /// `RUBY_PATCHLEVEL`; -1 for a development Ruby.
    pub ruby_patchlevel: i64,
}

/// The same moment on two clocks: decisions are made on the monotonic one,
/// people read the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The moment on the clock that the [`Supervisor`] is told.
    pub monotonic: Instant,
    /// The moment on the wall.
    pub wall: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn wall_of(&self, past: Instant) -> SystemTime {
        let ago = self.monotonic.saturating_duration_since(past);
        self.wall.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Statistics of single mode.
pub fn single(stats: &ServerStats, started_at: SystemTime, versions: &Versions, compat: Compat) -> String {
    let mut json = Json::object();
    json.key("started_at").string(&iso8601(started_at));
    write_server(&mut json, stats, compat);
    write_versions(&mut json, versions);
    json.finish()
}

/// Statistics of a cluster, from its master.
pub fn cluster(
    supervisor: &Supervisor,
    now: Now,
    started_at: SystemTime,
    versions: &Versions,
    compat: Compat,
) -> String {
    let workers = || supervisor.workers();
    let mut json = Json::object();
    json.key("started_at").string(&iso8601(started_at));
    json.key("workers").number(workers().count());
    json.key("phase").number(supervisor.phase());
    json.key("booted_workers").number(workers().filter(|worker| worker.is_booted()).count());
    json.key("old_workers").number(workers().filter(|worker| worker.phase() != supervisor.phase()).count());
    json.key("worker_status").open('[');
    for worker in workers() {
        write_worker(&mut json, worker, now, compat);
    }
    json.close(']');
    write_versions(&mut json, versions);
    json.finish()
}

fn write_worker(json: &mut Json, worker: &WorkerHandle, now: Now, compat: Compat) {
    json.element().open('{');
    json.key("started_at").string(&iso8601(now.wall_of(worker.started_at())));
    match worker.pid() {
        Some(pid) => json.key("pid").number(pid),
        None => json.key("pid").literal("null"),
    }
    json.key("index").number(worker.index());
    json.key("phase").number(worker.phase());
    json.key("booted").literal(if worker.is_booted() { "true" } else { "false" });
    json.key("last_checkin").string(&iso8601(now.wall_of(worker.last_checkin())));
    json.key("last_status").open('{');
    if let Some(status) = worker.last_status() {
        write_server(json, status, compat);
    }
    json.close('}');
    json.close('}');
}

fn write_server(json: &mut Json, stats: &ServerStats, compat: Compat) {
    for (key, value) in stats.entries(compat) {
        json.key(key).number(value);
    }
}

fn write_versions(json: &mut Json, versions: &Versions) {
    json.key("versions").open('{');
    json.key("puma").string(&versions.puma);
    json.key("ruby").open('{');
    json.key("engine").string(&versions.ruby_engine);
    json.key("version").string(&versions.ruby_version);
    json.key("patchlevel").number(versions.ruby_patchlevel);
    json.close('}');
    json.close('}');
}

/// Writes what `Puma::JSONSerialization` would: no white space at all.
struct Json {
    text: String,
}

impl Json {
    fn object() -> Self {
        Self { text: String::from("{") }
    }

    fn finish(mut self) -> String {
        self.close('}');
        self.text
    }

    /// Begins an element of an array.
    fn element(&mut self) -> &mut Self {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
        self
    }

    /// Begins an entry of an object; `key` needs no escaping.
    fn key(&mut self, key: &str) -> &mut Self {
        self.element();
        let _ = write!(self.text, "\"{key}\":");
        self
    }

    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
    }

    fn close(&mut self, bracket: char) {
        self.text.push(bracket);
    }

    fn literal(&mut self, literal: &str) {
        self.text.push_str(literal);
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        let _ = write!(self.text, "{number}");
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for c in string.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                c if c < ' ' => drop(write!(self.text, "\\u{:04X}", c as u32)),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

/// `%FT%TZ` in UTC: `2024-01-26T00:00:00Z`. Times before 1970 read as 1970.
pub fn iso8601(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
///
/// Counts from 0000-03-01, so that the leap day is the last of its year and the
/// months before it have a regular pattern of 153 days in five months.
fn civil_date(days_since_epoch: u64) -> (u64, u64, u64) {
    const DAYS_TO_EPOCH: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days_since_epoch + DAYS_TO_EPOCH;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn versions() -> Versions {
        Versions {
            puma: "6.6.0".into(),
            ruby_engine: "ruby".into(),
            ruby_version: "3.1.2".into(),
            ruby_patchlevel: 20,
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_706_227_200, "2024-01-26T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso8601(at(seconds)), want, "{seconds}");
        }
    }

    #[test]
    fn single_mode_has_the_keys_of_its_level_in_order() {
        let stats = ServerStats { max_threads: 5, pool_capacity: 5, ..ServerStats::default() };
        for (compat, want) in [
            (
                Compat::Puma6,
                r#""backlog":0,"running":0,"pool_capacity":5,"max_threads":5,"requests_count":0,"busy_threads":0"#,
            ),
            (
                Compat::Puma7,
                r#""backlog":0,"running":0,"pool_capacity":5,"busy_threads":0,"backlog_max":0,"max_threads":5,"requests_count":0,"reactor_max":0"#,
            ),
            (
                Compat::Puma8,
                r#""backlog":0,"running":0,"pool_capacity":5,"busy_threads":0,"io_threads":0,"backlog_max":0,"max_threads":5,"requests_count":0,"reactor_max":0"#,
            ),
        ] {
            let want = format!(
                r#"{{"started_at":"2024-01-26T00:00:00Z",{want},"versions":{{"puma":"6.6.0","ruby":{{"engine":"ruby","version":"3.1.2","patchlevel":20}}}}}}"#
            );
            assert_eq!(single(&stats, at(1_706_227_200), &versions(), compat), want);
        }
    }

    #[test]
    fn strings_are_escaped() {
        let mut json = Json::object();
        json.key("k").string("a\"b\\c\nd");
        assert_eq!(json.finish(), r#"{"k":"a\"b\\c\u000Ad"}"#);
    }
}
