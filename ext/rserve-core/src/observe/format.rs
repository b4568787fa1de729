//! An event as one line: text for people, JSON for programs. Pure.

use std::fmt::{self, Debug, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::Level;
use tracing::field::{Field, Visit};

use super::line::{Escape, Line, Value};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Format {
    /// `2026-11-26T10:00:00.000Z WARN rserve_core::net: message key=value`
    #[default]
    Text,
    /// `{"time":"2026-11-26T10:00:00.000Z","level":"warn","target":"rserve_core::net","msg":"message","key":"value"}`
    Json,
}

/// Which process writes the line, and when.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// When it happened.
    pub at: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// The part of the program.
    pub target: &'a str,
    /// Of this process.
    pub pid: u32,
    /// Index and phase, in a worker.
    pub worker: Option<(u32, Option<u32>)>,
}

/// Begins a line.
pub fn begin(line: &mut Line, format: Format, origin: Origin<'_>) {
    let since = origin.at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    line.part(|line| match format {
        Format::Text => {
            time(line, since)?;
            write!(line, " {} {}: ", origin.level, origin.target)
        }
        Format::Json => {
            line.write_str("{\"time\":\"")?;
            time(line, since)?;
            write!(line, "\",\"level\":\"{}\",\"target\":\"{}\"", level_name(origin.level), origin.target)
        }
    });
}

/// Ends a line, and gives it.
pub fn end<'a>(line: &'a mut Line, format: Format, origin: Origin<'_>) -> &'a [u8] {
    let mut fields = Fields { line, format };
    fields.number("pid", origin.pid);
    if let Some((index, phase)) = origin.worker {
        fields.number("worker", index);
        if let Some(phase) = phase {
            fields.number("phase", phase);
        }
    }
    line.finish(match format {
        Format::Text => "",
        Format::Json => "}",
    })
}

/// `2026-11-26T10:00:00.000Z` (RFC 3339).
fn time(line: &mut Line, since_1970: Duration) -> fmt::Result {
    let seconds = since_1970.as_secs();
    let (year, month, day) = rserve_http1::civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since_1970.subsec_millis();
    write!(line, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", month + 1)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        _ => "trace",
    }
}

/// Writes an event's fields into a line. `message` is what it says, and comes first by `tracing`'s rules.
pub struct Fields<'a> {
    /// Where to.
    pub line: &'a mut Line,
    /// How.
    pub format: Format,
}

impl Fields<'_> {
    fn number(&mut self, name: &str, value: impl fmt::Display) {
        let format = self.format;
        self.line.part(|line| match format {
            Format::Text => write!(line, " {name}={value}"),
            Format::Json => write!(line, ",\"{name}\":{value}"),
        });
    }

    fn string(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let format = self.format;
        self.line.part(|line| match (format, name) {
            (Format::Text, "message") => Value::new(line, Escape::Text).write_fmt(value),
            // A value with a space in it would look like the next name.
            (Format::Text, _) => {
                write!(line, " {name}=\"")?;
                Value::new(line, Escape::Json).write_fmt(value)?;
                line.write_char('"')
            }
            (Format::Json, _) => {
                write!(line, ",\"{}\":\"", if name == "message" { "msg" } else { name })?;
                Value::new(line, Escape::Json).write_fmt(value)?;
                line.write_char('"')
            }
        });
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers.
        if value.is_finite() {
            self.number(field.name(), format_args!("{value:.3}"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.string(field.name(), format_args!("{value:?}"));
    }
}
