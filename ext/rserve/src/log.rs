//! The server's own lines: `Rserve::Native.write_log` for those that Ruby makes, the rest for `tracing`'s events.

use std::time::Duration;

use magnus::{Error, Object, RModule, RString, Ruby, function};

use rserve_core::connection::access;
use rserve_core::observe::filter::Filter;
use rserve_core::observe::format::Format;
use rserve_core::observe::log;
use tracing::level_filters::LevelFilter;

use crate::vm::gvl::without_gvl;
use crate::vm::{error, text};

/// Writes `text` to the descriptor and waits for `patience` milliseconds at most. Gives how many octets were taken.
fn write_log(ruby: &Ruby, fd: i32, text: RString, patience: u64) -> Result<usize, Error> {
    let octets = text::copy(text);
    let patience = Duration::from_millis(patience);
    let outcome = without_gvl(|| rserve_core::write_log(fd, &octets, patience), &|| {})
        // Ruby wants this thread: the line comes first, without any waiting.
        .unwrap_or_else(|| rserve_core::write_log(fd, &octets, Duration::ZERO));
    outcome.map_err(|failure| error::system(ruby, &failure))
}

fn parse(ruby: &Ruby, filter: &str) -> Result<Filter, Error> {
    Filter::parse(filter).map_err(|invalid| Error::new(ruby.exception_arg_error(), invalid.to_string()))
}

/// Gives `filter` back when it is one: a level, or `NAME=LEVEL` with commas between.
fn check_log_filter(ruby: &Ruby, filter: String) -> Result<String, Error> {
    parse(ruby, &filter).map(|_| filter)
}

/// Hears what `filter` lets through from here on, and requests if there is a descriptor for the access log.
fn set_log_filter(ruby: &Ruby, filter: String, access: Option<i32>) -> Result<(), Error> {
    let mut filter = parse(ruby, &filter)?;
    filter.set(log::ACCESS, access.map_or(LevelFilter::OFF, |_| LevelFilter::INFO));
    if let Some(fd) = access {
        log::set_access_descriptor(fd);
    }
    if filter != Filter::default() {
        log::set_filter(filter);
    }
    Ok(())
}

/// Whether events are written as JSON.
fn log_as_json(answer: bool) {
    log::set_format(if answer { Format::Json } else { Format::Text });
}

/// A panic is logged like every other event, and as Rust prints it.
fn hear_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let reason =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        tracing::error!(target: "rserve", place, reason, "panic");
        tell(panic);
    }));
}

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    hear_panics();
    native.define_singleton_method("check_log_filter", function!(check_log_filter, 1))?;
    native.define_singleton_method("set_log_filter", function!(set_log_filter, 2))?;
    native.define_singleton_method("set_log_sample", function!(access::set_sample, 1))?;
    native.define_singleton_method("log_as_json", function!(log_as_json, 1))?;
    native.define_singleton_method("set_log_worker", function!(log::set_worker, 2))?;
    native.define_singleton_method("write_log", function!(write_log, 3))
}
