//! The subscriber of `tracing` that writes to the log: no thread, no lock, no Ruby. What is not asked for costs its call
//! site one relaxed load.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::callsite::rebuild_interest_cache;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use super::filter::Filter;
use super::format::{self, Fields, Format, Origin};
use super::line::Line;
use crate::sys::write_log;

/// The part of the program whose events are the access log.
pub const ACCESS: &str = "rserve::access";

/// How long a line waits at most for the log's reader.
const READER_PATIENCE: Duration = Duration::from_millis(10);

/// No worker, where index and phase share a word.
const NO_WORKER: u64 = u64::MAX;
const NO_PHASE: u32 = u32::MAX;

/// Asked once for each call site, and again after [`set_filter`]; never for an event.
static FILTER: Mutex<Option<Filter>> = Mutex::new(None);
static FORMAT: AtomicU8 = AtomicU8::new(Format::Text as u8);
static DESCRIPTOR: AtomicI32 = AtomicI32::new(1);
static ACCESS_DESCRIPTOR: AtomicI32 = AtomicI32::new(1);
static WORKER: AtomicU64 = AtomicU64::new(NO_WORKER);
static LOST: AtomicU64 = AtomicU64::new(0);
/// The last line was lost: nobody is waited for until one gets through.
static BEHIND: AtomicBool = AtomicBool::new(false);

/// Hears what `filter` lets through from here on, and nothing else.
pub fn set_filter(filter: Filter) {
    *FILTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(filter);
    // Only the first call finds no subscriber. When another one is there, which only a test could have set, it stays.
    let _ = tracing::subscriber::set_global_default(Log);
    rebuild_interest_cache();
}

/// How lines are written from here on.
pub fn set_format(format: Format) {
    FORMAT.store(format as u8, Ordering::Relaxed);
}

/// Where lines go from here on; they go to the standard output at first. Whoever replaces the file behind a descriptor
/// (`dup2`) need not say so.
pub fn set_descriptor(fd: RawFd) {
    DESCRIPTOR.store(fd, Ordering::Relaxed);
}

/// Where the access log goes from here on; at first that is the standard output, too.
pub fn set_access_descriptor(fd: RawFd) {
    ACCESS_DESCRIPTOR.store(fd, Ordering::Relaxed);
}

/// This process is a worker of a cluster. One that worker 0 has forked does not know its phase.
pub fn set_worker(index: u16, phase: Option<u32>) {
    let phase = phase.unwrap_or(NO_PHASE);
    WORKER.store(u64::from(index) << 32 | u64::from(phase), Ordering::Relaxed);
}

/// Lines that could not be written.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

fn format() -> Format {
    if FORMAT.load(Ordering::Relaxed) == Format::Json as u8 { Format::Json } else { Format::Text }
}

fn worker() -> Option<(u32, Option<u32>)> {
    let worker = WORKER.load(Ordering::Relaxed);
    let phase = Some(worker as u32).filter(|&phase| phase != NO_PHASE);
    (worker != NO_WORKER).then_some(((worker >> 32) as u32, phase))
}

struct Log;

impl Log {
    fn hears(metadata: &Metadata<'_>) -> bool {
        let filter = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
        let level = filter.as_ref().map_or(LevelFilter::OFF, |filter| filter.level_of(metadata.target()));
        metadata.is_event() && *metadata.level() <= level
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::hears(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::hears(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let filter = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
        Some(filter.as_ref().map_or(LevelFilter::OFF, Filter::most))
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let (target, format) = (metadata.target(), format());
        let origin = Origin {
            at: SystemTime::now(),
            level: *metadata.level(),
            target,
            pid: std::process::id(),
            worker: worker(),
        };
        let mut line = Line::default();
        format::begin(&mut line, format, origin);
        event.record(&mut Fields { line: &mut line, format });
        let octets = format::end(&mut line, format, origin);
        let fd = if target == ACCESS { &ACCESS_DESCRIPTOR } else { &DESCRIPTOR }.load(Ordering::Relaxed);
        // There is nobody left to tell when the log itself fails.
        let patience = if BEHIND.load(Ordering::Relaxed) { Duration::ZERO } else { READER_PATIENCE };
        let lost = write_log(fd, octets, patience).unwrap_or(0) < octets.len();
        if lost {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        if lost != BEHIND.load(Ordering::Relaxed) {
            BEHIND.store(lost, Ordering::Relaxed);
        }
    }

    // A request is one event at its end, so there are no spans to keep.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsRawFd;

    use super::super::line::Octets;
    use super::*;

    /// All in one test: there is one log in a process.
    #[test]
    fn what_is_asked_for_is_heard_in_the_format_asked_for() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut lines = BufReader::new(std::fs::File::from(reader)).lines();
        set_descriptor(writer.as_raw_fd());
        set_access_descriptor(writer.as_raw_fd());
        let say = || {
            tracing::debug!(target: "rserve_core::net", fd = 3, reason = %Octets(b"a b\"\xff"), "closed \"it\"\n");
            tracing::info!(target: ACCESS, status = 200, path = %Octets(b"/\x1b"), took_ms = 1.5, kept = true);
            tracing::warn!(target: "rserve_core::other", code = -1_i64, "seen");
        };

        say();
        set_filter(Filter::parse("warn,rserve_core::net=debug").unwrap());
        say();
        let pid = std::process::id();
        let mut texts = || {
            let line = lines.next().unwrap().unwrap();
            let (time, rest) = line.split_once('Z').unwrap();
            assert_eq!(time.len(), "2026-11-26T10:00:00.000".len(), "{line}");
            rest.to_owned()
        };
        let closed =
            format!(" DEBUG rserve_core::net: closed \"it\"\\n fd=3 reason=\"a b\\\"\\\\xFF\" pid={pid}");
        assert_eq!(texts(), closed);
        assert_eq!(texts(), format!(" WARN rserve_core::other: seen code=-1 pid={pid}"));

        set_filter(Filter::parse("off,rserve::access=info").unwrap());
        set_format(Format::Json);
        set_worker(2, Some(7));
        say();
        let line = lines.next().unwrap().unwrap();
        let (time, rest) = line.split_once("Z\",").unwrap();
        assert!(time.starts_with("{\"time\":\"2"), "{line}");
        let wanted = "\"level\":\"info\",\"target\":\"rserve::access\",\"status\":200,\"path\":\"/\\u001b\",\
                      \"took_ms\":1.500,\"kept\":true,\"pid\":PID,\"worker\":2,\"phase\":7}";
        assert_eq!(rest, wanted.replace("PID", &pid.to_string()));

        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        set_access_descriptor(full.as_raw_fd());
        say();
        assert_eq!(lost(), 1);
    }
}
